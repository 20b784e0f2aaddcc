{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ align(ref('dim_agents'), 'agent_id', 'agent_username') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

-- The parts of agent_hourly and agent_daily are counted here, from the calls; those are sums of these rows.
with parts as (
    select interval_start, local_hour, agent_id, {{ parts_of_calls(call_parts()) }}
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_hour') }} {%- endif %}
    group by all
),

-- Talking counts in the intervals in which it took place, also if its call counts in another one.
busy as (
    select interval_start, local_hour, agent_id, sum(to_second - from_second)::bigint as busy_seconds
    from {{ call_intervals(['talking']) }}
    group by all
)

select
    interval_start,
    local_hour,
    local_hour::date as local_date,
    agent_id,
    agent_username,
    coalesce(columns(parts.* exclude (interval_start, local_hour, agent_id)), 0),
    coalesce(busy_seconds, 0) as busy_seconds,
    seconds as interval_seconds,
    {{ call_rates() }},
    {{ share_of_time('coalesce(busy_seconds, 0)', 'interval_seconds') }} as occupancy,
    coalesce(is_final, false) as is_final
from parts
full join busy using (interval_start, local_hour, agent_id)
join {{ ref('dim_agents') }} using (agent_id)
left join {{ ref('dim_intervals') }} using (interval_start, local_hour)
order by interval_start, agent_id
