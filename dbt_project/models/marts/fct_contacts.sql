-- depends_on: {{ ref('fct_calls') }}
{{ config(
    incremental_strategy='stale_contacts',
    pre_hook="{{ note_stale_callids() }}",
    post_hook=["{{ note_closed_windows() }}", "{{ close_windows() }}"]
) }}

-- A contact is a caller's way through the centre: a transferred call is several calls, the legs, with the same callid.
--
--   1. contact_legs (models/intermediate) finds the contact that each call is a leg of.
--   2. contact_totals makes one row of a contact's legs.
--   3. Here each contact is followed by the same caller's next one: if it comes within 24 hours or 7 days, the contact
--      was repeated. A window is closed once all its hours are loaded; before that, "not repeated" may still change.
--
-- When a call has changed, the contacts near it with its callid are built again (macros/contacts.sql). In that case
-- step 3 reads the other contacts of their callers from this table, as `neighbours`, and writes those whose next
-- contact is now another one.
with contacts as (
    select * from {{ ref('contact_totals') }}
),

{% if in_portions() -%}
-- Callers whose contacts are built again, as they were and as they are now.
callers as (
    select callerid from contacts where has_usable_callerid
    union
    select callerid from {{ this }} where has_usable_callerid and {{ is_stale_contact() }}
),

-- The other contacts of these callers, as far away as they matter. Before a changed call: a contact may be repeated by
-- one that is built again, and be stored under an hour one contact_reach before it starts. After it: a contact that is
-- built again may start two contact_reach later, and its own repeat follows within repeat_reach.
neighbours as (
    select * exclude (is_repeat_candidate, repeated_within_24h, repeated_within_7d, window_24h_closed, window_7d_closed)
    from {{ this }}
    where
        has_usable_callerid
        and callerid in (from callers)
        and partition_hour in {{ partitions_around(
            'partition_hour', contact_reach() + repeat_reach(), 2 * contact_reach() + repeat_reach()
        ) }}
        and not ({{ is_stale_contact() }})
),
{%- endif %}

-- What is built, and beside it what is only looked at, with the seconds to the next contact that are stored.
sequence as (
    select *, null::bigint as stored_seconds_to_next, true as is_new from contacts
    {% if in_portions() -%}
    union all by name
    select * rename (seconds_to_next as stored_seconds_to_next), false as is_new from neighbours
    {%- endif %}
),

-- The caller's next contact. A contact without a usable number has none; it is sorted by its callid, since all of them
-- as one caller would be a long list to sort.
followed as (
    select
        *,
        lead(started_at_utc) over (
            partition by if(has_usable_callerid, callerid, callid), has_usable_callerid order by started_at_utc, callid
        ) as next_started_at_utc,
        case
            when
                has_usable_callerid
                and next_started_at_utc <= started_at_utc + interval {{ long_repeat_hours() }} hours
                then (epoch_us(next_started_at_utc) - epoch_us(started_at_utc)) // 1000000
        end as seconds_to_next
    from sequence
)

select
    followed.* exclude (stored_seconds_to_next, next_started_at_utc, is_new),
    is_answered and has_usable_callerid as is_repeat_candidate,
    if(
        is_repeat_candidate, coalesce(seconds_to_next <= {{ short_repeat_hours() }} * 3600, false), null
    ) as repeated_within_24h,
    if(is_repeat_candidate, seconds_to_next is not null, null) as repeated_within_7d,
    {{ window_closed(short_repeat_hours()) }} as window_24h_closed,
    {{ window_closed(long_repeat_hours()) }} as window_7d_closed
from followed
left join {{ ref('dim_hours') }} as hours on hours.local_hour = followed.partition_hour
{% if in_portions() -%}
-- Neighbours that are the same as before are not written, nor are those so late that their next contact was not read.
where
    is_new
    or (
        seconds_to_next is distinct from stored_seconds_to_next
        and partition_hour in {{ partitions_around(
            'partition_hour', contact_reach() + repeat_reach(), contact_reach()
        ) }}
    )
{%- endif %}
order by partition_hour, first_call_key
