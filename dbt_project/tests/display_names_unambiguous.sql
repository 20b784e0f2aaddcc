-- Two agents have a display name in common, so rings of this name count for neither of them. Looked at are the names
-- that calls of the days of a build show, and with --full-refresh all.
-- What to do: give one of the agents another name. Earlier rings stay with nobody.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'dim_agents'}}}) }}

select display_name, count(distinct agent_id) as agents, min(agent_id) as one_agent_id, max(agent_id) as another_agent_id
from {{ ref('agent_name_days') }}
where display_name in (select display_name from {{ ref('agent_name_days') }} where {{ is_tested('local_date') }})
group by display_name
having agents > 1
