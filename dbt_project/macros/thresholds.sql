{#
  The hours (values of `column`) of the relation being built whose threshold is not their day's any more: where the
  seed is silent, one call's sl flag may show that the threshold of all of its day's calls was another.
#}
{% macro threshold_moved(column) -%}
    (
        select built.{{ column }}
        from {{ this }} as built
        join {{ ref('queue_days') }} as days using (queue_key, local_date)
        where {{ is_stale('local_date') }} and built.threshold_seconds <> days.threshold_seconds
    )
{%- endmacro %}
