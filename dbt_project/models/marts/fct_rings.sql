{{ config(meta={'stale': 'partition_hour'}, post_hook="{{ align_ring_agents() }}") }}

with calls as {{ stale_rows(
    ref('fct_calls'),
    'partition_hour',
    'call_key, partition_hour, interval_start, local_hour, local_date, callid, queue_key, started_at_utc, '
    ~ 'talk_started_at_utc, ended_at_utc, is_answered, is_direct, is_outbound_answered, is_open, is_vanished'
) }},

events as (
    select
        key as call_key,
        partition_hour,
        position,
        date as event_at,
        nullif(trim(agent), '') as display_name,
        {{ kind_of_event('event') }} as kind
    from {{ source('cdr', 'call_history') }}
    where
        kind is not null
        {%- if in_portions() %} and {{ is_stale('partition_hour') }} {%- endif %}
),

-- A ring ends with the next event of the same agent. Events are in the vendor's order; their dates may be missing.
followed as (
    select
        *,
        lead(kind) over same_agent as next_kind,
        lead(event_at) over same_agent as next_at,
        max(position) filter (where kind = 'answer') over (partition by call_key, partition_hour) as answer_position
    from events
    window same_agent as (partition by call_key, partition_hour, display_name order by position)
),

rings as (
    select
        *,
        {{ instant_in_call('event_at', 'started_at_utc') }} as rung_at_utc,
        {{ instant_in_call('next_at', 'started_at_utc') }} as next_at_utc,
        is_answered or is_direct or is_outbound_answered as is_talked,
        case
            when next_kind = 'answer' then 'answered'
            when next_kind = 'miss' then 'missed'
            when next_kind = 'ring' or is_vanished or is_open then 'unknown'
            when not is_talked or answer_position > position then 'call_left'
            else 'unknown'
        end as outcome,
        -- As of the calls' dates, one that is more than a day away from the call is not known.
        abs(epoch_us(rung_at_utc) - epoch_us(started_at_utc)) <= 86400 * 1000000::bigint as is_plausible,
        case
            when outcome in ('answered', 'missed') then next_at_utc
            when outcome = 'call_left' then if(is_talked, talk_started_at_utc, ended_at_utc)
        end as over_at_utc,
        if(is_plausible, (epoch_us(over_at_utc) - epoch_us(rung_at_utc)) // 1000000, null) as seconds,
        -- A ring outside of its call counts in the hour of the call: its time cannot be true, and a call that changes
        -- makes only the hours between its start and its end stale.
        coalesce(rung_at_utc between started_at_utc and ended_at_utc, false) as is_within_call
    from followed
    join calls using (call_key, partition_hour)
    where
        kind = 'ring'
        -- The same ring listed twice.
        and not (coalesce(next_kind = 'ring', false) and next_at is not distinct from event_at)
)

select
    call_key,
    position,
    partition_hour,
    if(is_within_call, {{ interval_of('event_at') }}, interval_start) as interval_start,
    if(is_within_call, date_trunc('hour', event_at), local_hour) as local_hour,
    if(is_within_call, event_at::date, local_date) as local_date,
    callid,
    queue_key,
    coalesce(names.agent_id, '(none)') as agent_id,
    display_name,
    if(is_plausible, event_at, null) as rung_at,
    if(seconds between 0 and 86400, seconds, null) as ring_seconds,
    outcome,
    is_vanished
from rings
left join {{ agents_of_names() }} as names using (display_name)
order by partition_hour, call_key, position
