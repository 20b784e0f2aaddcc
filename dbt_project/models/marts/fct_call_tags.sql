{{ config(meta={'stale': 'partition_hour'}) }}

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
from {{ source('cdr', 'call_tags') }} as tags
join {{ ref('fct_calls') }} as calls on tags.key = calls.call_key and tags.partition_hour = calls.partition_hour
{% if is_incremental() -%}
where tags.{{ is_stale('partition_hour') }} and calls.{{ is_stale('partition_hour') }}
{%- endif %}
order by calls.partition_hour, call_key, position
