{{ config(
    meta={'stale': 'local_date'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(ref('dim_agents'), 'agent_id', 'agent_username') }}",
        "{{ align(final_days(), 'local_date', 'is_final') }}",
    ]
) }}

with parts as (
    select local_date, queue_key, agent_id, {{ parts_of_calls(call_parts()) }}
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_date') }} {%- endif %}
    group by all
)

select
    local_date,
    queue_key,
    queue_name,
    agent_id,
    agent_username,
    parts.* exclude (local_date, queue_key, agent_id),
    {{ call_rates() }},
    coalesce(is_final, false) as is_final
from parts
join {{ ref('dim_queues') }} using (queue_key)
join {{ ref('dim_agents') }} using (agent_id)
left join {{ final_days() }} using (local_date)
order by local_date, queue_key, agent_id
