-- In every partition, fct_calls holds as many calls, and as many vanished ones, as cdr.calls.
{{ config(meta={'dagster': {'ref': {'name': 'fct_calls'}}}) }}

with loaded as (
    select partition_hour, count(*) as calls, count(vanished_at) as vanished
    from {{ source('cdr', 'calls') }}
    where {{ is_tested('partition_hour') }}
    group by all
),

built as (
    select partition_hour, count(*) as calls, count(*) filter (where is_vanished) as vanished
    from {{ ref('fct_calls') }}
    where {{ is_tested('partition_hour') }}
    group by all
)

select partition_hour, loaded.calls as loaded, built.calls as built
from loaded
full join built using (partition_hour)
where loaded.calls is distinct from built.calls or loaded.vanished is distinct from built.vanished
