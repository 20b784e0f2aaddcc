{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ align(ref('dim_agents'), 'agent_id', 'agent_username') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

with parts as (
    select local_hour, agent_id, {{ call_parts() }}
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_hour') }} {%- endif %}
    group by all
),

-- Talking counts in the hours in which it took place, also if its call counts in another hour.
busy as (
    select local_hour, agent_id, sum(to_second - from_second)::bigint as busy_seconds
    from {{ call_hours(['talking']) }}
    group by all
)

select
    local_hour,
    local_hour::date as local_date,
    agent_id,
    agent_username,
    coalesce(columns(parts.* exclude (local_hour, agent_id)), 0),
    coalesce(busy_seconds, 0) as busy_seconds,
    seconds as hour_seconds,
    {{ call_rates() }},
    {{ share_of_time('coalesce(busy_seconds, 0)', 'hour_seconds') }} as occupancy,
    coalesce(is_final, false) as is_final
from parts
full join busy using (local_hour, agent_id)
join {{ ref('dim_agents') }} using (agent_id)
left join {{ ref('dim_hours') }} using (local_hour)
order by local_hour, agent_id
