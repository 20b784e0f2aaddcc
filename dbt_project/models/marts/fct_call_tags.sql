{{ config(meta={'stale': 'partition_hour'}) }}

with tags as {{ stale_rows(source('cdr', 'call_tags'), 'partition_hour', '* exclude (extra)') }},

calls as {{ stale_rows(
    ref('fct_calls'),
    'partition_hour',
    'call_key, partition_hour, local_hour, local_date, callid, queue_key, agent_id, is_vanished'
) }}

select
    call_key,
    position,
    calls.partition_hour,
    calls.local_hour,
    calls.local_date,
    calls.callid,
    calls.queue_key,
    calls.agent_id,
    coalesce(nullif(trim(tags.tag), ''), '(none)') as tag,
    calls.is_vanished
from tags
join calls on tags.key = calls.call_key and tags.partition_hour = calls.partition_hour
order by calls.partition_hour, call_key, position
