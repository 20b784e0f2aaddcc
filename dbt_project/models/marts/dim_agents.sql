{{ config(materialized='table') }}

with names as (
    select agent_id, arg_max(display_name, (local_date, last_call_at, display_name)) as display_name
    from {{ ref('agent_name_days') }}
    join {{ agents_of_names() }} using (agent_id, display_name)
    group by agent_id
)

select
    agent_id,
    coalesce(arg_max(agent_username, local_date), agent_id) as agent_username,
    min(local_date) as first_date,
    max(local_date) as last_date,
    any_value(display_name) as display_name
from {{ ref('agent_days') }}
left join names using (agent_id)
group by agent_id
order by agent_id
