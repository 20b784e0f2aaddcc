{{ config(
    incremental_strategy='stale_contacts',
    post_hook=["{{ note_closed_windows() }}", "{{ close_windows() }}"]
) }}

-- Calls with the same callid are legs of one contact. A leg joins the earliest leg of the 24 hours before it, so that
-- which contact a leg belongs to is decided by a day's calls, and never by the whole history.
with legs as (
    select
        *,
        is_answered or is_direct or is_outbound_answered as has_agent,
        row_number() over (partition by callid order by started_at_utc, call_key) as leg,
        min(started_at_utc) over one_day as contact_started_at_utc,
        min(partition_hour) over one_day as contact_partition_hour
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if is_incremental() %}
        and callid in {{ stale_callids() }}
        and partition_hour in {{ partitions_around('partition_hour', 50, 50) }}
        {%- endif %}
    window one_day as (
        partition by callid order by started_at_utc range between interval 24 hours preceding and current row
    )
),

joined as (
    select
        callid,
        contact_partition_hour as partition_hour,
        unnest(arg_min(
            {
                first_call_key: call_key, local_hour: local_hour, local_date: local_date, started_at: started_at,
                started_at_utc: started_at_utc, callerid: callerid, is_inbound: is_inbound
            },
            leg
        )),
        if(bool_or(ended_at is null), null, max(ended_at)) as ended_at,
        -- Those who took it first, else those it came to first.
        coalesce(arg_min(queue_key, leg) filter (where is_offered), arg_min(queue_key, leg)) as queue_key,
        coalesce(
            arg_min(agent_id, leg) filter (where is_answered or is_direct), arg_min(agent_id, leg)
        ) as agent_id,
        count(*) as legs,
        {{ sum_if_known('transfers', 'has_agent') }} as transfers,
        {{ sum_if_known('wait_seconds', 'is_offered') }} as wait_seconds,
        {{ sum_if_known('talk_seconds', 'has_agent') }} as talk_seconds,
        {{ sum_if_known('hold_seconds', 'has_agent') }} as hold_seconds,
        sum(csat_answers)::bigint as csat_answers,
        bool_or(is_answered or is_direct) as has_answered_leg
    from legs
    {% if is_incremental() -%}
    where contact_partition_hour in {{ partitions_around('partition_hour', 25, 25) }}
    {%- endif %}
    group by callid, contact_started_at_utc, contact_partition_hour
),

contacts as (
    select
        * exclude (has_answered_leg),
        is_inbound and has_answered_leg as is_answered,
        -- Five digits and more, and not zeros alone: neither "anonymous" nor 0000000000 is a caller.
        is_inbound
        and regexp_matches(coalesce(callerid, ''), '([0-9][^0-9]*){5}')
        and regexp_matches(coalesce(callerid, ''), '[1-9]') as has_usable_callerid
    from joined
),

{% if is_incremental() -%}
-- Contacts of the same callers: the next contact after them may be another one now.
callers as (
    select callerid from contacts where has_usable_callerid
    union
    select callerid from {{ this }} where has_usable_callerid and {{ is_stale_contact() }}
),

neighbours as (
    select * exclude (is_repeat_candidate, repeated_within_24h, repeated_within_7d, window_24h_closed, window_7d_closed)
    from {{ this }}
    where
        has_usable_callerid
        and callerid in (from callers)
        and partition_hour in {{ partitions_around('partition_hour', 8 * 24, 8 * 24) }}
        and not ({{ is_stale_contact() }})
),
{%- endif %}

sequence as (
    select *, null::bigint as known_seconds_to_next, true as is_new from contacts
    {% if is_incremental() -%}
    union all by name
    select * rename (seconds_to_next as known_seconds_to_next), false as is_new from neighbours
    {%- endif %}
),

followed as (
    select
        *,
        lead(started_at_utc) over (
            partition by if(has_usable_callerid, callerid, callid), has_usable_callerid order by started_at_utc, callid
        ) as next_started_at_utc,
        case
            when has_usable_callerid and next_started_at_utc <= started_at_utc + interval 168 hours
                then (epoch_us(next_started_at_utc) - epoch_us(started_at_utc)) // 1000000
        end as seconds_to_next
    from sequence
)

select
    followed.* exclude (known_seconds_to_next, next_started_at_utc, is_new),
    is_answered and has_usable_callerid as is_repeat_candidate,
    if(is_repeat_candidate, coalesce(seconds_to_next <= 86400, false), null) as repeated_within_24h,
    if(is_repeat_candidate, seconds_to_next is not null, null) as repeated_within_7d,
    {{ window_closed(24) }} as window_24h_closed,
    {{ window_closed(168) }} as window_7d_closed
from followed
left join {{ ref('dim_hours') }} as hours on hours.local_hour = followed.partition_hour
{% if is_incremental() -%}
where
    is_new
    or (
        seconds_to_next is distinct from known_seconds_to_next
        -- The next contact of later ones is not known here, and not changed either.
        and partition_hour in {{ partitions_around('partition_hour', 8 * 24, 25) }}
    )
{%- endif %}
order by partition_hour, first_call_key
