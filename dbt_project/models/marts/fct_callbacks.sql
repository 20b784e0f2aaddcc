-- A view, because no mart reads it. It names its tables without the catalogue, as fct_call_events does.
{{ config(materialized='view') }}

-- Inbound contacts under their callers' numbers, outbound ones under the numbers that they called.
with contacts as (
    select
        *,
        case
            when not is_inbound then called_num
            when has_usable_callerid then callerid
        end as number
    from {{ ref('fct_contacts').include(database=false) }}
),

followed as (
    select
        *,
        lead({
            call_key: first_call_key, start: started_at_utc, is_inbound: is_inbound, is_connected: is_connected
        }) over (partition by number order by started_at_utc, callid, first_call_key) as later
    from contacts
    where number in (select number from contacts where is_abandoned)
),

-- Later contacts count for as long as in fct_contacts.
next_contacts as (
    select
        first_call_key,
        later.call_key as next_call_key,
        if(later.is_inbound, 'inbound', 'outbound') as direction,
        (epoch_us(later.start) - epoch_us(started_at_utc)) // 1000000 as delay_seconds,
        later.is_connected as is_reached
    from followed
    where is_abandoned and later.start <= started_at_utc + interval {{ long_repeat_hours() }} hours
)

select
    first_call_key,
    contacts.partition_hour,
    contacts.interval_start,
    contacts.local_hour,
    contacts.local_date,
    contacts.callid,
    contacts.callerid,
    contacts.queue_key,
    contacts.started_at,
    contacts.ended_at as abandoned_at,
    contacts.number is not null as has_usable_callerid,
    next_contacts.next_call_key,
    next_contacts.direction,
    next_contacts.delay_seconds,
    case
        when next_contacts.next_call_key is not null then next_contacts.is_reached
        when contacts.number is not null and contacts.window_7d_closed then false
    end as is_reached,
    contacts.window_24h_closed,
    contacts.window_7d_closed
from contacts
left join next_contacts using (first_call_key)
where contacts.is_abandoned
