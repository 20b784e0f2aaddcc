-- Step 1 of fct_contacts: each call, and the contact that it is a leg of.
--
-- A call belongs to the earliest call with its callid in the 24 hours that end with its own start. So a day of calls
-- decides which contact a call belongs to, and never all of history: phone systems use a callid again after some time.
-- After a change, the calls of the changed callids are read; they lie twice the reach of a contact away at the most,
-- since the farthest contact that is built again lies one reach away, and its legs another.
with legs as (
    select
        *,
        row_number() over (partition by callid order by started_at_utc, call_key) as leg,
        min(started_at_utc) over one_contact as contact_started_at_utc,
        min(partition_hour) over one_contact as contact_partition_hour
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %}
        and callid in {{ stale_callids() }}
        and partition_hour in {{ partitions_around('partition_hour', 2 * contact_reach(), 2 * contact_reach()) }}
        {%- endif %}
    window one_contact as ({{ legs_before() }})
)

select
    callid,
    contact_started_at_utc,
    contact_partition_hour,
    leg,
    call_key,
    interval_start,
    local_hour,
    local_date,
    started_at,
    started_at_utc,
    ended_at,
    callerid,
    called_num,
    queue_key,
    agent_id,
    is_inbound,
    is_offered,
    is_abandoned,
    is_answered or is_direct as is_answered_inbound,
    is_answered or is_direct or is_outbound_answered as has_agent,
    transfers,
    wait_seconds,
    talk_seconds,
    hold_seconds,
    csat_answers
from legs
{% if in_portions() -%}
where contact_partition_hour in {{ partitions_around('partition_hour', contact_reach(), contact_reach()) }}
{%- endif %}
