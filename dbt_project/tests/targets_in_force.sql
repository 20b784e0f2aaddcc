-- seeds/targets.csv has a line with a fault, which counts nowhere, or one of a queue that no call has; or
-- staffing_interval was built with other targets than the file has now: a build of stale hours does not change them.
-- What to do: correct the line; run `cdr rebuild`.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'staffing_interval'}}}) }}

with targets as (from {{ targets_read() }})

select queue_key, valid_from as local_date, coalesce(fault, 'no call has this queue') as failure
from targets
where fault is not null or queue_key not in (select queue_key from {{ ref('dim_queues') }})
union all
select built.queue_key, min(built.local_date), 'built with another target'
from (
    select distinct
        queue_key, local_date, target_share, target_seconds, most_occupancy, shrinkage, after_call_seconds
    from {{ ref('staffing_interval') }}
) as built
asof left join (from targets where fault is null) as targets
    on built.queue_key = targets.queue_key and built.local_date >= targets.valid_from
where
    (built.target_share, built.target_seconds, built.most_occupancy, built.shrinkage, built.after_call_seconds)
    is distinct from (
        coalesce(targets.share, {{ var('target_share') }})::double,
        coalesce(targets.seconds, {{ var('threshold_seconds') }})::integer,
        coalesce(targets.most_occupancy, 1)::double,
        coalesce(targets.shrinkage, 0)::double,
        coalesce(targets.after_call_seconds, 0)::double
    )
group by built.queue_key
