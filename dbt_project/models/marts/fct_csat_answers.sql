{{ config(meta={'stale': 'partition_hour'}) }}

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
    answers.date as answered_at,
    calls.is_vanished
from {{ source('cdr', 'csat_answers') }} as answers
join {{ ref('fct_calls') }} as calls on answers.key = calls.call_key and answers.partition_hour = calls.partition_hour
{% if is_incremental() -%}
where answers.{{ is_stale('partition_hour') }} and calls.{{ is_stale('partition_hour') }}
{%- endif %}
order by calls.partition_hour, call_key, position
