-- The quarters of an hour of UTC are quarters in every zone. One that the clock repeats is two of them, and one that it
-- skips is none.
{{ config(materialized='table') }}

with quarters as (
    select
        {{ interval_of(local_time('to_timestamp(second)')) }} as interval_start,
        date_trunc('hour', interval_start) as local_hour,
        min(second) as first_second,
        count(*) * 900 as seconds
    from (
        select unnest(range(epoch(min(starts_at_utc))::bigint, epoch(max(ends_at_utc))::bigint, 900)) as second
        from {{ ref('dim_hours') }}
    )
    group by all
)

select
    interval_start,
    local_hour,
    local_date,
    hour_of_day,
    extract(minute from interval_start)::integer as minute_of_hour,
    weekday,
    weekday_name,
    week_start,
    month_start,
    to_timestamp(first_second) as starts_at_utc,
    quarters.seconds,
    is_loaded,
    is_final
from quarters
join {{ ref('dim_hours') }} using (local_hour)
order by interval_start
