-- depends_on: {{ ref('queue_days') }}
{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ delete_quiet_intervals() }}",
        "{{ insert_quiet_intervals() }}",
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

-- The parts of all queue marts are counted here, from the calls; queue_hourly and queue_daily are sums of these rows.
with parts as (
    select
        interval_start,
        local_hour,
        local_date,
        queue_key,
        threshold_seconds,
        {{ parts_of_calls(call_parts() + queue_parts()) }},
        max(wait_seconds) filter (where is_offered) as wait_seconds_max
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %}
        and local_hour in (
            select * from {{ stale('local_hour') }} union select * from {{ threshold_moved('local_hour') }}
        )
        {%- endif %}
    group by all
)

select
    interval_start,
    local_hour,
    local_date,
    queue_key,
    queue_name,
    parts.* exclude (interval_start, local_hour, local_date, queue_key, threshold_seconds),
    {{ call_rates() }},
    {{ queue_rates() }},
    parts.threshold_seconds,
    coalesce(is_final, false) as is_final
from parts
join {{ ref('dim_queues') }} using (queue_key)
left join {{ ref('dim_hours') }} using (local_hour, local_date)
order by interval_start, queue_key
