-- The name that an agent had on a day: the source of dim_agents. A table, since the agents' latest names would
-- otherwise be looked for among all calls in every build.
{{ config(
    materialized='incremental',
    incremental_strategy='stale_hours',
    meta={'stale': 'local_date'}
) }}

select
    agent_id,
    local_date,
    arg_max(agent_username, (started_at, call_key)) as agent_username
from {{ ref('fct_calls') }}
{% if in_portions() %} where {{ is_stale('local_date') }} {% endif %}
group by all
