{{ config(meta={'stale': 'partition_hour'}) }}

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
from {{ source('cdr', 'call_history') }} as events
join {{ ref('fct_calls') }} as calls on events.key = calls.call_key and events.partition_hour = calls.partition_hour
{% if is_incremental() -%}
where events.{{ is_stale('partition_hour') }} and calls.{{ is_stale('partition_hour') }}
{%- endif %}
order by calls.partition_hour, call_key, position
