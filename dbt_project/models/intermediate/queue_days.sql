-- The name and the thresholds that a queue had on a day: the source of dim_queues, and of the threshold of each call. A
-- table, since it would otherwise be made of all calls in every build.
{{ config(
    materialized='incremental',
    incremental_strategy='stale_hours',
    meta={'stale': 'local_date'}
) }}

with observed as (
    select
        queue_key,
        local_date,
        arg_max(queue_name, (started_at, call_key)) as queue_name,
        max(wait_seconds) filter (where is_answered_within_threshold) as longest_wait_within,
        min(wait_seconds) filter (where is_answered_beyond_threshold) as shortest_wait_beyond
    from {{ ref('stg_calls') }}
    {% if in_portions() -%}
    where
        {{ is_stale('local_date') }}
        -- A call counts within a day of its start: a day's calls are in these partitions, counted from its first hour.
        -- Its last hour is 23 hours after that.
        and partition_hour in {{ partitions_around('local_date', partitions_in(24), 23 + partitions_in(24)) }}
    {%- endif %}
    group by all
)

select
    observed.*,
    coalesce(
        configured.threshold_seconds,
        -- Of the thresholds that the day's sl flags allow, the one nearest to the default, and none below 0.
        greatest(longest_wait_within, least({{ var('threshold_seconds') }}, shortest_wait_beyond - 1), 0)
    )::integer as threshold_seconds,
    coalesce(configured.short_threshold_seconds, {{ var('short_threshold_seconds') }})::integer as short_threshold_seconds,
    configured.queue_key is not null as is_configured
from observed
asof left join {{ ref('thresholds') }} as configured
    on observed.queue_key = configured.queue_key and observed.local_date >= configured.valid_from
