select
    facts.call_key,
    facts.started_at,
    facts.interval_start,
    facts.local_date,
    queues.queue_name,
    agents.agent_username,
    facts.is_inbound,
    facts.outcome,
    facts.menu_seconds,
    facts.wait_seconds,
    facts.talk_seconds,
    facts.hold_seconds,
    facts.holds,
    facts.transfers,
    facts.is_answered_within_threshold,
    facts.is_missed,
    facts.csat_answers,
    facts.tags
from {{ ref('fct_calls').include(database=false) }} as facts
join {{ ref('dim_queues').include(database=false) }} as queues using (queue_key)
join {{ ref('dim_agents').include(database=false) }} as agents using (agent_id)
where not facts.is_vanished
