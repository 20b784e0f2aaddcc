select
    facts.call_key,
    facts.position,
    facts.rung_at,
    facts.interval_start,
    facts.local_hour,
    facts.local_date,
    queues.queue_name,
    coalesce(agents.agent_username, facts.agent_id) as agent_username,
    facts.display_name,
    facts.ring_seconds,
    facts.outcome,
    facts.callid
from {{ ref('fct_rings').include(database=false) }} as facts
join {{ ref('dim_queues').include(database=false) }} as queues on facts.queue_key = queues.queue_key
left join {{ ref('dim_agents').include(database=false) }} as agents on facts.agent_id = agents.agent_id
where not facts.is_vanished
