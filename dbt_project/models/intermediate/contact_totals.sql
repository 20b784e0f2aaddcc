-- Step 2 of fct_contacts: what the legs of a contact amount to. Who called, when and how is taken from the first leg.
with joined as (
    select
        callid,
        contact_partition_hour as partition_hour,
        unnest(arg_min(
            {
                first_call_key: call_key, interval_start: interval_start, local_hour: local_hour,
                local_date: local_date, started_at: started_at, started_at_utc: started_at_utc, callerid: callerid,
                called_num: called_num, is_inbound: is_inbound
            },
            leg
        )),
        if(bool_or(ended_at is null), null, max(ended_at)) as ended_at,
        -- The first queue that offered it and the first agent who answered it, or else those of the first leg.
        coalesce(arg_min(queue_key, leg) filter (where is_offered), arg_min(queue_key, leg)) as queue_key,
        coalesce(arg_min(agent_id, leg) filter (where is_answered_inbound), arg_min(agent_id, leg)) as agent_id,
        count(*) as legs,
        {{ sum_if_known('transfers', 'has_agent') }} as transfers,
        {{ sum_if_known('wait_seconds', 'is_offered') }} as wait_seconds,
        {{ sum_if_known('talk_seconds', 'has_agent') }} as talk_seconds,
        {{ sum_if_known('hold_seconds', 'has_agent') }} as hold_seconds,
        sum(csat_answers)::bigint as csat_answers,
        bool_or(is_answered_inbound) as has_answered_leg,
        bool_or(is_abandoned) as has_abandoned_leg,
        bool_or(has_agent) as is_connected
    from {{ ref('contact_legs') }}
    group by callid, contact_started_at_utc, contact_partition_hour
)

select
    * exclude (has_answered_leg, has_abandoned_leg),
    is_inbound and has_answered_leg as is_answered,
    is_inbound and has_abandoned_leg and not is_connected as is_abandoned,
    -- A number has five digits or more, not all of them zero: "anonymous" and 0000000000 are no callers.
    is_inbound
    and regexp_matches(coalesce(callerid, ''), '([0-9][^0-9]*){5}')
    and regexp_matches(coalesce(callerid, ''), '[1-9]') as has_usable_callerid
from joined
