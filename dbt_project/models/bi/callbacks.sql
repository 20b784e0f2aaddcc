select
    facts.first_call_key,
    facts.started_at,
    facts.abandoned_at,
    facts.interval_start,
    facts.local_hour,
    facts.local_date,
    queues.queue_name,
    facts.has_usable_callerid,
    facts.next_call_key,
    facts.direction,
    facts.delay_seconds,
    facts.is_reached,
    facts.window_24h_closed,
    facts.window_7d_closed
from {{ ref('fct_callbacks').include(database=false) }} as facts
join {{ ref('dim_queues').include(database=false) }} as queues on facts.queue_key = queues.queue_key
