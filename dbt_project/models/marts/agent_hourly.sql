{{ config(
    meta={'stale': 'local_hour'},
    post_hook=[
        "{{ align(ref('dim_agents'), 'agent_id', 'agent_username') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

with parts as (
    select local_hour, local_date, agent_id, {{ sums_of(call_parts() + [('busy_seconds', '')]) }}
    from {{ ref('agent_interval') }}
    {% if in_portions() -%} where {{ is_stale('local_hour') }} {%- endif %}
    group by all
)

select
    local_hour,
    local_date,
    agent_id,
    agent_username,
    parts.* exclude (local_hour, local_date, agent_id),
    seconds as hour_seconds,
    {{ call_rates() }},
    {{ share_of_time('busy_seconds', 'hour_seconds') }} as occupancy,
    coalesce(is_final, false) as is_final
from parts
join {{ ref('dim_agents') }} using (agent_id)
left join {{ ref('dim_hours') }} using (local_hour, local_date)
order by local_hour, agent_id
