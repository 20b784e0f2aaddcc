-- A view: a contact may change with a call of another day, and so few rows are quickly counted. It names its tables
-- without the catalogue, because the published copy takes it over and its file may have any name.
{{ config(materialized='view') }}

select
    started_at::date as local_date,
    queue_key,
    queue_name,
    agent_id,
    agent_username,
    count(*) as answered_contacts,
    count(csat_answers) as answered_contacts_known,
    count(*) filter (where csat_answers > 0) as answered_contacts_with_answer,
    {{ rate('answered_contacts_with_answer', 'answered_contacts_known') }} as response_rate_of_answered_contacts
from {{ ref('fct_contacts').include(database=false) }}
join {{ ref('dim_queues').include(database=false) }} using (queue_key)
join {{ ref('dim_agents').include(database=false) }} using (agent_id)
where is_inbound and is_answered
group by all
