{#
  Takes a column of hours of the model that is being built; gives a subquery of the hours that were built with another
  threshold than their day has now. Where the seed has no threshold for a queue, the day's sl flags show it: one
  changed call may show another threshold for all calls of its day.
#}
{% macro threshold_moved(column) -%}
    (
        select built.{{ column }}
        from {{ this }} as built
        join {{ ref('queue_days') }} as days using (queue_key, local_date)
        where {{ is_stale('local_date') }} and built.threshold_seconds <> days.threshold_seconds
    )
{%- endmacro %}
