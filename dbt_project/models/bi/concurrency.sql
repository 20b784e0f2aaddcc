select
    facts.interval_start,
    facts.local_hour,
    facts.local_date,
    dayname(facts.local_date) as weekday_name,
    coalesce(queues.queue_name, facts.scope) as queue_name,
    facts.kind,
    facts.peak,
    facts.peak_at,
    facts.busy_seconds,
    facts.interval_seconds,
    facts.erlangs,
    facts.is_final
from {{ ref('concurrency_interval').include(database=false) }} as facts
left join {{ ref('dim_queues').include(database=false) }} as queues on facts.scope = queues.queue_key
