select
    facts.from_call_key,
    facts.to_call_key,
    facts.interval_start,
    facts.local_date,
    from_queues.queue_name as from_queue_name,
    to_queues.queue_name as to_queue_name,
    from_agents.agent_username as from_agent_username,
    to_agents.agent_username as to_agent_username,
    facts.transferred_at,
    facts.seconds_before,
    facts.transfers,
    facts.kind
from {{ ref('fct_transfers').include(database=false) }} as facts
join {{ ref('dim_queues').include(database=false) }} as from_queues on facts.from_queue_key = from_queues.queue_key
left join {{ ref('dim_queues').include(database=false) }} as to_queues on facts.to_queue_key = to_queues.queue_key
join {{ ref('dim_agents').include(database=false) }} as from_agents on facts.from_agent_id = from_agents.agent_id
left join {{ ref('dim_agents').include(database=false) }} as to_agents on facts.to_agent_id = to_agents.agent_id
