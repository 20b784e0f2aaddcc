-- There are as many events, answers and tags as the calls' arrays had items.
{{ config(meta={'dagster': {'ref': {'name': 'fct_call_tags'}}}) }}

with calls as (
    select partition_hour, sum(events) as events, sum(csat_answers) as csat_answers, sum(tags) as tags
    from {{ ref('fct_calls') }}
    where {{ is_tested('partition_hour') }}
    group by all
),

{% for name, table in [('events', 'fct_call_events'), ('csat_answers', 'fct_csat_answers'), ('tags', 'fct_call_tags')] %}
{{ name }} as (
    select partition_hour, count(*) as {{ name }}
    from {{ ref(table) }}
    where {{ is_tested('partition_hour') }}
    group by all
){{ "," if not loop.last }}
{% endfor %}

select
    partition_hour,
    calls.events - coalesce(events.events, 0) as missing_events,
    calls.csat_answers - coalesce(csat_answers.csat_answers, 0) as missing_csat_answers,
    calls.tags - coalesce(tags.tags, 0) as missing_tags
from calls
left join events using (partition_hour)
left join csat_answers using (partition_hour)
left join tags using (partition_hour)
where missing_events <> 0 or missing_csat_answers <> 0 or missing_tags <> 0
