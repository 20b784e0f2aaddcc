select
    local_hour,
    local_date,
    hour_of_day,
    weekday,
    weekday_name,
    week_start,
    month_start,
    special_day,
    seconds,
    is_loaded,
    open_calls,
    is_final,
    fetched_at
from {{ ref('dim_hours').include(database=false) }}
