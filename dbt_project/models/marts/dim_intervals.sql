-- A view, because it says no more than dim_hours. It names its table without the catalogue, because the published copy
-- takes it over and its file may have any name.
{{ config(materialized='view') }}

with quarters as (
    select
        *,
        unnest(range(epoch_us(starts_at_utc) // 1000000, epoch_us(ends_at_utc) // 1000000, 900)) as second,
        {{ interval_of(local_time('to_timestamp(second)')) }} as interval_start
    from {{ ref('dim_hours').include(database=false) }}
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
    to_timestamp(min(second)) as starts_at_utc,
    count(*) * 900 as seconds,
    is_loaded,
    is_final
from quarters
group by all
