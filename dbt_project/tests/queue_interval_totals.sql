-- All intervals and queues of an hour together have the calls of fct_calls, and every offered call has exactly one
-- outcome.
{{ config(meta={'dagster': {'ref': {'name': 'queue_interval'}}}) }}

with facts as (
    select
        local_hour,
        count(*) as calls,
        count(*) filter (where is_offered) as offered,
        count(*) filter (where is_answered) as answered,
        count(*) filter (where is_abandoned_within_threshold) as abandoned_within_threshold,
        sum(wait_seconds) filter (where is_offered) as waits,
        sum(talk_seconds) filter (where is_answered) as talks
    from {{ ref('fct_calls') }}
    where not is_vanished and {{ is_tested('local_hour') }}
    group by all
),

mart as (
    select
        local_hour,
        sum(calls) as calls,
        sum(offered) as offered,
        sum(answered) as answered,
        sum(abandoned) as abandoned,
        sum(voicemail) as voicemail,
        sum(other_exits) as other_exits,
        sum(left_in_menu + direct + outbound) as not_offered,
        sum(abandoned_within_threshold) as abandoned_within_threshold,
        sum(wait_seconds_offered) as waits,
        sum(talk_seconds) as talks
    from {{ ref('queue_interval') }}
    where {{ is_tested('local_hour') }} and calls > 0
    group by all
)

select
    local_hour,
    case
        when facts.calls is distinct from mart.calls then 'calls'
        when facts.offered <> mart.offered then 'offered'
        when facts.answered <> mart.answered then 'answered'
        when facts.abandoned_within_threshold <> mart.abandoned_within_threshold then 'abandoned within threshold'
        when coalesce(facts.waits, 0) <> mart.waits then 'waits'
        when coalesce(facts.talks, 0) <> mart.talks then 'talk'
        when mart.offered <> mart.answered + abandoned + voicemail + other_exits then 'offered, by outcome'
        when mart.calls <> mart.offered + not_offered then 'calls, by kind'
    end as failure
from facts
full join mart using (local_hour)
where failure is not null
