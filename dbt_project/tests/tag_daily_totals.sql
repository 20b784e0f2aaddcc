-- A tag's calls of a day are the distinct calls that have the tag.
{{ config(meta={'dagster': {'ref': {'name': 'tag_daily'}}}) }}

with facts as (
    select local_date, tag, count(distinct call_key) as calls
    from {{ ref('fct_call_tags') }}
    where not is_vanished and {{ is_tested('local_date') }}
    group by all
),

mart as (
    select local_date, tag, calls from {{ ref('tag_daily') }} where {{ is_tested('local_date') }}
)

(from facts except all from mart)
union all
(from mart except all from facts)
