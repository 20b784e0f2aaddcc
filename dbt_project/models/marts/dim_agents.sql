{{ config(materialized='table') }}

select
    agent_id,
    coalesce(arg_max(agent_username, local_date), agent_id) as agent_username,
    min(local_date) as first_date,
    max(local_date) as last_date
from {{ ref('agent_days') }}
group by agent_id
order by agent_id
