-- All agents of a day together, "(none)" included, have the calls of fct_calls and the talking of agent_hourly. All
-- queues of an agent's day together have what agent_daily counts.
{{ config(meta={'dagster': {'ref': {'name': 'agent_daily'}}}) }}

with facts as (
    select
        local_date,
        count(*) as calls,
        count(*) filter (where is_offered) as offered,
        count(*) filter (where is_answered) as answered,
        count(*) filter (where is_missed) as missed,
        sum(talk_seconds) as talk_seconds
    from {{ ref('fct_calls') }}
    where not is_vanished and {{ is_tested('local_date') }}
    group by all
),

hours as (
    select local_date, sum(busy_seconds) as busy_seconds
    from {{ ref('agent_hourly') }}
    where {{ is_tested('local_date') }}
    group by all
),

agents as (
    select
        local_date,
        sum(calls) as calls,
        sum(offered) as offered,
        sum(answered) as answered,
        sum(missed) as missed,
        sum(all_talk_seconds) as talk_seconds,
        sum(busy_seconds) as busy_seconds
    from {{ ref('agent_daily') }}
    where {{ is_tested('local_date') }}
    group by all
),

queues as (
    select local_date, agent_id, {{ sums_of(call_parts()) }}
    from {{ ref('agent_queue_daily') }}
    where {{ is_tested('local_date') }}
    group by all
),

-- Only agents with calls: others talked in calls of another day, or were rung.
days as (
    select
        local_date,
        agent_id,
        {%- for name, _ in call_parts() %}
        {{ name }} {{- "," if not loop.last }}
        {%- endfor %}
    from {{ ref('agent_daily') }}
    where {{ is_tested('local_date') }} and calls <> 0
)

select local_date
from agents
full join facts using (local_date)
full join hours using (local_date)
where
    coalesce(agents.calls, 0) <> coalesce(facts.calls, 0)
    or coalesce(agents.offered, 0) <> coalesce(facts.offered, 0)
    or coalesce(agents.answered, 0) <> coalesce(facts.answered, 0)
    or coalesce(agents.missed, 0) <> coalesce(facts.missed, 0)
    or coalesce(agents.talk_seconds, 0) <> coalesce(facts.talk_seconds, 0)
    or coalesce(agents.busy_seconds, 0) <> coalesce(hours.busy_seconds, 0)
union all
select local_date
from ((from queues except from days) union all (from days except from queues))
