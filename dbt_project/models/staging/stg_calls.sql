-- cdr.calls under the analysts' names. Here alone is decided which sets (offered, answered, abandoned ...) a call is
-- in. A call that the vendor no longer lists is in no set.
with readings as (
    select partition_hour, max(fetched_at) as read_at
    from {{ source('cdr', 'loads') }}
    where error is null and filters is null
    group by all
),

named as (
    select
        key as call_key,
        partition_hour,
        coalesce(nullif(trim(callid), ''), key) as callid,
        coalesce(nullif(trim(queuekey), ''), {{ key_of_name('queue') }}, '(none)') as queue_key,
        nullif(trim(queue), '') as queue_name,
        coalesce(nullif(trim(agentid), ''), {{ key_of_name('agent') }}, '(none)') as agent_id,
        nullif(trim(agent), '') as agent_username,
        callerid_e164 as callerid,
        called_num_e164 as called_num,
        calldate as started_at,
        queuedate as queued_at,
        talkdate as talk_started_at,
        hangupdate as ended_at,
        calldate_utc as started_at_utc,
        queuedate_utc as queued_at_utc,
        talkdate_utc as talk_started_at_utc,
        hangupdate_utc as ended_at_utc,
        if(queued, coalesce(queuedate, calldate), calldate) as counted_at,
        waitduration::bigint as wait_seconds,
        -- The menu ends when the call is queued, or else when it is answered or ends.
        case
            when coalesce(inbound, false)
                then (
                    epoch_us(
                        case
                            when coalesce(queued, false) then queuedate_utc
                            when coalesce(answered, false) then talkdate_utc
                            else hangupdate_utc
                        end
                    )
                    - epoch_us(calldate_utc)
                ) // 1000000
        end as seconds_in_menu,
        duration::bigint as duration_seconds,
        -- The length of a talk that begins before its call, or lasts more than a day, is not known.
        case
            when
                coalesce(answered, false)
                and talkdate_utc >= calldate_utc
                and epoch_us(hangupdate_utc) - epoch_us(talkdate_utc) between 0 and 86400 * 1000000::bigint
                then (epoch_us(hangupdate_utc) - epoch_us(talkdate_utc)) // 1000000
        end as talk_seconds,
        -- Without a hold the time on hold is 0. It is not known if a time was sent that cannot be true.
        coalesce(
            holdduration, if(hold = 0 and not coalesce(contains(set_aside::varchar, '"holdduration"'), false), 0, null)
        )::bigint as hold_seconds,
        hold as holds,
        transferred as transfers,
        call_history_count as events,
        csat_answers_count as csat_answers,
        call_tags_count as tags,
        uniqueid,
        recordingurl,
        answeredby as answered_by,
        channel,
        -- A call without an end goes on for a day; after that its end is not known, and will hardly come.
        hangupdate is null
        and greatest(fetched_at, coalesce(read_at, fetched_at)) < calldate_utc + {{ open_for() }} as goes_on,
        vanished_at is not null as is_vanished,
        vanished_at is null as is_listed,
        coalesce(inbound, false) as inbound,
        coalesce(queued, false) as queued,
        coalesce(answered, false) as answered,
        coalesce(abandon, false) as abandon,
        coalesce(voicemail, false) as voicemail,
        coalesce(shortcall, false) as shortcall,
        coalesce(assigned, false) as assigned,
        -- These two divide the answered calls. A call of which one was not sent is on neither side.
        sl,
        localrelease
    from {{ source('cdr', 'calls') }}
    left join readings using (partition_hour)
),

sets as (
    select
        *,
        is_listed and inbound and queued as is_offered,
        is_listed and inbound and not queued and not answered as is_left_in_menu,
        is_listed and inbound and not queued and answered as is_direct,
        is_listed and not inbound as is_outbound,
        is_offered and answered as is_answered,
        is_offered and not answered and abandon and not voicemail as is_abandoned,
        is_abandoned and shortcall as is_short_abandoned,
        is_offered and not answered and voicemail as is_voicemail,
        is_offered and not answered and not voicemail and not abandon as is_other_exit,
        is_answered and sl is not null as is_sl_known,
        is_sl_known and sl as is_answered_within_threshold,
        is_sl_known and not sl as is_answered_beyond_threshold,
        is_outbound and answered as is_outbound_answered,
        is_listed and assigned as is_assigned,
        is_assigned and not answered as is_missed,
        is_answered and coalesce(holds, 0) > 0 as is_held,
        is_answered and coalesce(transfers, 0) > 0 as is_transferred,
        is_answered and localrelease is not null as is_localrelease_known,
        is_localrelease_known and localrelease as is_agent_hung_up,
        is_listed and goes_on as is_open,
        case
            when is_answered then 'answered'
            when is_abandoned then 'abandoned'
            when is_voicemail then 'voicemail'
            when is_other_exit then 'other_exit'
            when is_left_in_menu then 'left_in_menu'
            when is_direct then 'direct'
            when is_outbound_answered then 'outbound_answered'
            when is_outbound then 'outbound_not_answered'
            else 'vanished'
        end as outcome
    from named
)

select
    call_key,
    partition_hour,
    {{ interval_of('counted_at') }} as interval_start,
    date_trunc('hour', counted_at) as local_hour,
    counted_at::date as local_date,
    callid,
    queue_key,
    queue_name,
    agent_id,
    agent_username,
    callerid,
    called_num,
    started_at,
    queued_at,
    talk_started_at,
    ended_at,
    started_at_utc,
    queued_at_utc,
    talk_started_at_utc,
    ended_at_utc,
    -- As of the other lengths, one that is negative or longer than a day is not known.
    if(seconds_in_menu between 0 and 86400, seconds_in_menu, null) as menu_seconds,
    wait_seconds,
    talk_seconds,
    hold_seconds,
    duration_seconds,
    holds,
    transfers,
    events,
    csat_answers,
    tags,
    uniqueid,
    recordingurl,
    answered_by,
    channel,
    outcome,
    inbound as is_inbound,
    is_offered,
    is_answered,
    is_abandoned,
    is_short_abandoned,
    is_voicemail,
    is_other_exit,
    is_left_in_menu,
    is_direct,
    is_outbound,
    is_outbound_answered,
    is_assigned,
    is_missed,
    is_sl_known,
    is_answered_within_threshold,
    is_answered_beyond_threshold,
    is_held,
    is_transferred,
    is_localrelease_known,
    is_agent_hung_up,
    is_open,
    is_vanished
from sets
