{{ config(meta={'stale': 'partition_hour'}) }}

{#-
  A number was given that cannot be a score. The loader has set it aside if it does not fit its scale. Without a scale it
  may be any number, a phone number for instance; no survey has a million scores.
-#}
{%- set impossible = "score >= 1e6 or score is null"
    ~ " and coalesce(try_cast(extra->>'$.score' as double), try_cast(answer as double)) is not null" -%}

with answers as {{ stale_rows(
    source('cdr', 'csat_answers'),
    'partition_hour',
    '* exclude (extra) replace (if(score < 1e6, score, null) as score), '
    ~ 'coalesce(' ~ impossible ~ ', false) as is_score_impossible'
) }},

calls as {{ stale_rows(
    ref('fct_calls'),
    'partition_hour',
    'call_key, partition_hour, local_hour, local_date, callid, queue_key, agent_id, is_vanished'
) }}

select
    call_key,
    position,
    calls.partition_hour,
    calls.local_hour,
    calls.local_date,
    calls.callid,
    calls.queue_key,
    calls.agent_id,
    answers.survey,
    answers.question,
    answers.answer,
    answers.score,
    answers.scale,
    answers.score >= answers.scale - 1 as is_top_two,
    answers.is_score_impossible,
    answers.date as answered_at,
    calls.is_vanished
from answers
join calls on answers.key = calls.call_key and answers.partition_hour = calls.partition_hour
order by calls.partition_hour, call_key, position
