-- The display names that an agent surely had on a day: the source of dim_agents.display_name and of fct_rings.agent_id.
-- A table, for the reason that agent_days is one.
--
-- A call names one agent. It is surely the agent that the history names
--   if one alone answered, at the moment at which the talk started, or
--   if one alone was rung and no other answered, and the call was assigned.
{{ config(
    materialized='incremental',
    incremental_strategy='stale_hours',
    meta={'stale': 'local_date'}
) }}

with calls as {{ stale_rows(
    ref('fct_calls'),
    'local_date',
    'call_key, partition_hour, local_date, agent_id, started_at, talk_started_at, is_assigned, is_vanished'
) }},

events as (
    select
        key as call_key,
        partition_hour,
        date as event_at,
        nullif(trim(agent), '') as display_name,
        {{ kind_of_event('event') }} as kind
    from {{ source('cdr', 'call_history') }}
    where
        kind is not null
        {%- if in_portions() %} and partition_hour in (select partition_hour from calls) {%- endif %}
),

named as (
    select
        local_date,
        agent_id,
        call_key,
        started_at,
        min(display_name) as display_name,
        count(distinct display_name) = 1 and bool_or(kind = 'ring') and is_assigned as is_only_one_rung,
        min(display_name) filter (where kind = 'answer') as answered_by,
        count(distinct display_name) filter (where kind = 'answer') = 1
        and coalesce(bool_or(event_at = talk_started_at) filter (where kind = 'answer'), false) as is_only_one_to_answer
    from events
    join calls using (call_key, partition_hour)
    where not is_vanished and agent_id <> '(none)' and display_name is not null
    group by local_date, agent_id, call_key, started_at, is_assigned
)

select
    agent_id,
    local_date,
    if(is_only_one_to_answer, answered_by, display_name) as display_name,
    max(started_at) as last_call_at
from named
where is_only_one_to_answer or is_only_one_rung
group by all
