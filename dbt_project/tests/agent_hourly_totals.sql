-- All agents of an hour together, "(none)" included, have the calls of queue_hourly and the talking of
-- concurrency_hourly.
{{ config(meta={'dagster': {'ref': {'name': 'agent_hourly'}}}) }}

with agents as (
    select
        local_hour,
        sum(calls) as calls,
        sum(answered) as answered,
        sum(talk_seconds) as talk_seconds,
        sum(busy_seconds) as busy_seconds
    from {{ ref('agent_hourly') }}
    where {{ is_tested('local_hour') }}
    group by all
),

queues as (
    select local_hour, sum(calls) as calls, sum(answered) as answered, sum(talk_seconds) as talk_seconds
    from {{ ref('queue_hourly') }}
    where {{ is_tested('local_hour') }}
    group by all
),

talking as (
    select local_hour, busy_seconds
    from {{ ref('concurrency_hourly') }}
    where {{ is_tested('local_hour') }} and scope = '(all)' and kind = 'talking'
)

select local_hour
from agents
full join queues using (local_hour)
full join talking using (local_hour)
where
    coalesce(agents.calls, 0) <> coalesce(queues.calls, 0)
    or coalesce(agents.answered, 0) <> coalesce(queues.answered, 0)
    or coalesce(agents.talk_seconds, 0) <> coalesce(queues.talk_seconds, 0)
    or coalesce(agents.busy_seconds, 0) <> coalesce(talking.busy_seconds, 0)
