-- depends_on: {{ ref('queue_days') }}
{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

{%- set is_built -%}
    {%- if in_portions() -%}
        local_hour in (
            select * from {{ stale('local_hour') }} union select * from {{ threshold_moved('local_hour') }}
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endset %}

with parts as (
    select
        local_hour,
        local_date,
        queue_key,
        any_value(threshold_seconds) as threshold_seconds,
        {{ sums_of(call_parts() + queue_parts()) }},
        max(wait_seconds_max) as wait_seconds_max
    from {{ ref('queue_interval') }}
    where calls > 0 and {{ is_built }}
    group by all
),

spread as (
    select local_hour, queue_key, {{ percentiles() }}
    from {{ ref('fct_calls') }}
    where not is_vanished and {{ is_built }}
    group by all
)

select
    local_hour,
    local_date,
    queue_key,
    queue_name,
    parts.* exclude (local_hour, local_date, queue_key, threshold_seconds),
    {{ each_percentile() }},
    {{ call_rates() }},
    {{ queue_rates() }},
    parts.threshold_seconds,
    coalesce(is_final, false) as is_final
from parts
join spread using (local_hour, queue_key)
join {{ ref('dim_queues') }} using (queue_key)
left join {{ ref('dim_hours') }} using (local_hour, local_date)
order by local_hour, queue_key
