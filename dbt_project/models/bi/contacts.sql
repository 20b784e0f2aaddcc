select
    facts.first_call_key,
    facts.started_at,
    facts.interval_start,
    facts.local_date,
    queues.queue_name,
    agents.agent_username,
    facts.is_inbound,
    facts.is_answered,
    facts.legs,
    facts.transfers,
    facts.wait_seconds,
    facts.talk_seconds,
    facts.hold_seconds,
    facts.csat_answers,
    facts.is_repeat_candidate,
    facts.repeated_within_24h,
    facts.window_24h_closed,
    facts.repeated_within_7d,
    facts.window_7d_closed
from {{ ref('fct_contacts').include(database=false) }} as facts
join {{ ref('dim_queues').include(database=false) }} as queues using (queue_key)
join {{ ref('dim_agents').include(database=false) }} as agents using (agent_id)
