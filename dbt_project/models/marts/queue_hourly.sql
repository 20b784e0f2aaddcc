-- depends_on: {{ ref('queue_days') }}
{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

with parts as (
    select
        local_hour,
        local_date,
        queue_key,
        threshold_seconds,
        {{ call_parts() }},
        {{ queue_parts() }}
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
    local_hour,
    local_date,
    queue_key,
    queue_name,
    parts.* exclude (local_hour, local_date, queue_key, threshold_seconds, wait_percentiles),
    wait_percentiles[1] as wait_seconds_p50,
    wait_percentiles[2] as wait_seconds_p90,
    wait_percentiles[3] as wait_seconds_p95,
    {{ call_rates() }},
    {{ queue_rates() }},
    parts.threshold_seconds,
    coalesce(is_final, false) as is_final
from parts
join {{ ref('dim_queues') }} using (queue_key)
left join {{ ref('dim_hours') }} using (local_hour, local_date)
order by local_hour, queue_key
