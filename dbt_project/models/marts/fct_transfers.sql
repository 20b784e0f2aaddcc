-- A view, because no mart reads it. It names its tables without the catalogue, as fct_call_events does.
{{ config(materialized='view') }}

-- Only the few calls of contacts with more than one leg, or with a transfer that led to no leg, are sorted.
with legs as (
    select
        *,
        is_answered or is_direct or is_outbound_answered as has_agent,
        min(started_at_utc) over one_contact as contact_started_at_utc
    from {{ ref('fct_calls').include(database=false) }}
    where
        not is_vanished
        and callid in (
            select callid from {{ ref('fct_contacts').include(database=false) }} where legs > 1 or transfers > 0
        )
    window one_contact as ({{ legs_before() }})
),

followed as (
    select
        *,
        lead({call_key: call_key, queue_key: queue_key, agent_id: agent_id, started_at: started_at}) over (
            partition by callid, contact_started_at_utc order by started_at_utc, call_key
        ) as next_leg
    from legs
)

select
    call_key as from_call_key,
    next_leg.call_key as to_call_key,
    partition_hour,
    interval_start,
    local_hour,
    local_date,
    callid,
    queue_key as from_queue_key,
    next_leg.queue_key as to_queue_key,
    agent_id as from_agent_id,
    next_leg.agent_id as to_agent_id,
    coalesce(next_leg.started_at, ended_at) as transferred_at,
    talk_seconds as seconds_before,
    transfers,
    case
        when next_leg is null then null
        when to_queue_key = '(none)' then if(to_agent_id = '(none)', 'elsewhere', 'to_agent')
        when to_queue_key = queue_key then 'same_queue'
        else 'other_queue'
    end as kind
from followed
where next_leg is not null or (has_agent and transfers > 0)
