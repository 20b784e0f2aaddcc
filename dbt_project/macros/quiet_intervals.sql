{#
  Post-hooks of queue_interval: a queue without calls in a quarter of an hour has a row of zeros if the hour is loaded,
  from the first day on that has a call of the queue. A planner would otherwise take the mean of the busy quarters only.
  The rows are no part of the model's SQL, because a call that is found in an old hour may add a queue to all hours
  since, more than a portion should hold.
#}

{# Deletes the rows of zeros that are no longer true: of days before the queue's first, and of hours that are not loaded. #}
{% macro delete_quiet_intervals() -%}
    {%- set is_wrong -%}
        calls = 0
        and (
            not exists (
                from {{ ref('dim_queues') }} as queues
                where queues.queue_key = mart.queue_key and queues.first_date <= mart.local_date
            )
            or not exists (
                from {{ ref('dim_hours') }} as hours
                where hours.local_hour = mart.local_hour and hours.fetched_at >= hours.ends_at_utc
            )
        )
    {%- endset -%}
    {{ note_unpublished('select local_hour from ' ~ this ~ ' as mart where ' ~ is_wrong) }};
    delete from {{ this }} as mart where {{ is_wrong }}
{%- endmacro %}

{#
  Inserts the rows of zeros that are missing. The build deletes them in the stale hours, and in other hours of the same
  days if a threshold moved. A queue whose first day is one of these days lacks them on all days since. An hour that was
  read before its end is not known to be quiet.
#}
{% macro insert_quiet_intervals() -%}
    create or replace temporary table quiet_intervals as
    select intervals.interval_start, intervals.local_hour, intervals.local_date, queue_key, queue_name, intervals.is_final
    from {{ ref('dim_intervals') }} as intervals
    join {{ ref('dim_hours') }} as hours using (local_hour)
    join {{ ref('dim_queues') }} as queues on queues.first_date <= intervals.local_date
    where
        hours.fetched_at >= hours.ends_at_utc
        -- Hours whose calls were deleted were not quiet.
        and hours.local_hour >= {{ frozen_until() }}
        and (
            intervals.local_date in (select hour::date from hours_to_build where reason = 'touched')
            or queues.first_date in (select hour::date from hours_to_build where reason = 'touched')
        );
    delete from quiet_intervals as quiet
    using {{ this }} as mart
    where mart.queue_key = quiet.queue_key and mart.interval_start = quiet.interval_start;
    {{ note_unpublished('select local_hour from quiet_intervals') }};
    insert into {{ this }} by name
    select
        *,
        {%- for name, _ in call_parts() + queue_parts() %}
        0 as {{ name }} {{- "," if not loop.last }}
        {%- endfor %}
    from quiet_intervals
    order by interval_start, queue_key
{%- endmacro %}
