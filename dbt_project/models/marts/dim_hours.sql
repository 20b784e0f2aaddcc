-- Built whole each time: an hour becomes loaded and final without a change of its calls, and there are few hours.
{{ config(materialized='table') }}

with loads as (
    -- Hours fetched only with filters do not count as loaded.
    select partition_hour as local_hour, max(fetched_at) filter (filters is null) as fetched_at
    from {{ source('cdr', 'loads') }}
    where error is null
    group by all
),

-- Calls may wait, talk and end up to a day after the hour in which they started.
days as (
    select unnest(generate_series(min(local_hour)::date - 1, max(local_hour)::date + 1, interval 1 day)) as local_date
    from loads
),

hours as (
    select
        local_date + to_hours(hour_of_day) as local_hour,
        {{ starts_at_utc('local_hour') }} as starts_at_utc,
        {{ starts_at_utc('local_hour + interval 1 hour') }} as ends_at_utc,
        (epoch_us(ends_at_utc) - epoch_us(starts_at_utc)) // 1000000 as seconds
    from days, range(24) as hours_of_day (hour_of_day)
),

open_calls as (
    select local_hour, count(*) as open_calls
    from {{ ref('fct_calls') }}
    where is_open
    group by all
),

-- The instant up to which every hour from this one on is loaded: the start of the next hour that is not. An hour that a
-- clock change skips is never read, and counts as loaded. An hour that it repeats, and that was read only after its
-- first pass, is not loaded yet.
reach as (
    select
        local_hour,
        nullif(
            min(if(seconds = 0 or coalesce(fetched_at >= ends_at_utc, false), null, starts_at_utc)) over (
                order by local_hour rows between current row and unbounded following
            ),
            starts_at_utc
        ) as loaded_until_utc,
        -- A call of the hour before may enter its queue in this one, and counts here then. Before the first loaded hour
        -- there is none to wait for.
        lag(fetched_at) over (partition by seconds > 0 order by local_hour) is not null
        or local_hour = min(local_hour) filter (where fetched_at is not null) over () as is_preceded
    from hours
    left join loads using (local_hour)
),

-- A day that the file has twice must not double its hours.
special as (
    select special_date, string_agg(coalesce(name, '(no name)'), ', ' order by name) as special_day
    from (select *, try_cast(local_date as date) as special_date from {{ ref('special_days') }})
    group by special_date
)

select
    local_hour,
    local_hour::date as local_date,
    extract(hour from local_hour)::integer as hour_of_day,
    isodow(local_hour)::integer as weekday,
    dayname(local_hour) as weekday_name,
    date_trunc('week', local_hour)::date as week_start,
    date_trunc('month', local_hour)::date as month_start,
    special_day,
    starts_at_utc,
    ends_at_utc,
    seconds,
    fetched_at,
    fetched_at is not null as is_loaded,
    loaded_until_utc,
    coalesce(open_calls, 0) as open_calls,
    coalesce(
        open_calls is null and is_preceded and fetched_at >= ends_at_utc + {{ final_after() }}, false
    ) as is_final
from hours
left join loads using (local_hour)
left join open_calls using (local_hour)
left join reach using (local_hour)
left join special on special_date = local_hour::date
order by local_hour
