{{ config(meta={'stale': 'partition_hour'}) }}

with events as {{ stale_rows(source('cdr', 'call_history'), 'partition_hour') }},

calls as {{ stale_rows(ref('fct_calls'), 'partition_hour') }}

select
    call_key,
    position,
    calls.partition_hour,
    calls.local_hour,
    calls.local_date,
    calls.queue_key,
    calls.agent_id,
    events.event,
    events.date as event_at,
    events.agent as event_agent,
    events.queue as event_queue,
    calls.is_vanished
from events
join calls on events.key = calls.call_key and events.partition_hour = calls.partition_hour
order by calls.partition_hour, call_key, position
