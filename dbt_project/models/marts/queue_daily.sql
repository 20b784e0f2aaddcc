{{ config(
    meta={'stale': 'local_date'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(final_days(), 'local_date', 'is_final') }}",
    ]
) }}

{%- set is_built = is_stale('local_date') if in_portions() else 'true' %}

with parts as (
    select
        local_date,
        queue_key,
        any_value(threshold_seconds) as threshold_seconds,
        {{ sums_of(call_parts() + queue_parts()) }},
        max(wait_seconds_max) as wait_seconds_max
    from {{ ref('queue_hourly') }}
    where {{ is_built }}
    group by all
),

spread as (
    select local_date, queue_key, {{ percentiles() }}
    from {{ ref('fct_calls') }}
    where not is_vanished and {{ is_built }}
    group by all
)

select
    local_date,
    queue_key,
    queue_name,
    parts.* exclude (local_date, queue_key, threshold_seconds),
    {{ each_percentile() }},
    {{ call_rates() }},
    {{ queue_rates() }},
    parts.threshold_seconds,
    coalesce(is_final, false) as is_final
from parts
join spread using (local_date, queue_key)
join {{ ref('dim_queues') }} using (queue_key)
left join {{ final_days() }} using (local_date)
order by local_date, queue_key
