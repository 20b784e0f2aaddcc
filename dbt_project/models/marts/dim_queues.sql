{{ config(materialized='table') }}

select
    queue_key,
    coalesce(arg_max(queue_name, local_date), queue_key) as queue_name,
    arg_max(threshold_seconds, local_date) as threshold_seconds,
    arg_max(short_threshold_seconds, local_date) as short_threshold_seconds,
    min(local_date) as first_date,
    max(local_date) as last_date
from {{ ref('queue_days') }}
group by queue_key
order by queue_key
