{{ config(meta={'stale': 'partition_hour'}) }}

select
    calls.* exclude (
        is_answered_beyond_threshold,
        is_held,
        is_transferred,
        is_localrelease_known,
        is_agent_hung_up,
        is_open,
        is_vanished
    ),
    is_abandoned and coalesce(wait_seconds <= threshold_seconds, false) as is_abandoned_within_threshold,
    is_held,
    is_transferred,
    is_localrelease_known,
    is_agent_hung_up,
    is_open,
    is_vanished,
    threshold_seconds
from {{ ref('stg_calls') }} as calls
join {{ ref('queue_days') }} as days using (queue_key, local_date)
{% if in_portions() -%}
where partition_hour in (
    select * from {{ stale('partition_hour') }} union select * from {{ threshold_moved('partition_hour') }}
)
{%- endif %}
order by partition_hour, call_key
