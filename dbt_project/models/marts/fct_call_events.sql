-- A view, because no mart reads it: writing it as a table took a third of the time of a build of busy hours. The view
-- names its tables without the catalogue, because the published copy takes it over and its file may have any name.
{{ config(materialized='view') }}

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
from {{ source('cdr', 'call_history').include(database=false) }} as events
join {{ ref('fct_calls').include(database=false) }} as calls
    on events.key = calls.call_key and events.partition_hour = calls.partition_hour
