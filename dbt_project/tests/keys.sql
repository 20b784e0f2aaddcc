-- No table has two rows with the same key, or a row in whose key a column is NULL. One test for all tables, because each
-- test costs a build as much as a small model.
{{ config(meta={'dagster': {'ref': {'name': 'fct_calls'}}}) }}

{# The columns of each key, and the column by which a usual build looks at stale rows only. #}
{%- set keys = [
    ('dim_queues', ['queue_key'], none),
    ('dim_agents', ['agent_id'], none),
    ('dim_hours', ['local_hour'], none),
    ('dim_intervals', ['interval_start'], none),
    ('fct_calls', ['call_key'], 'partition_hour'),
    ('fct_contacts', ['first_call_key'], 'partition_hour'),
    ('fct_rings', ['call_key', 'position'], 'partition_hour'),
    ('fct_csat_answers', ['call_key', 'position'], 'partition_hour'),
    ('fct_call_tags', ['call_key', 'position'], 'partition_hour'),
    ('queue_interval', ['interval_start', 'queue_key'], 'local_hour'),
    ('queue_hourly', ['local_hour', 'queue_key'], 'local_hour'),
    ('queue_daily', ['local_date', 'queue_key'], 'local_date'),
    ('staffing_interval', ['interval_start', 'queue_key'], 'local_hour'),
    ('agent_interval', ['interval_start', 'agent_id'], 'local_hour'),
    ('agent_hourly', ['local_hour', 'agent_id'], 'local_hour'),
    ('agent_daily', ['local_date', 'agent_id'], 'local_date'),
    ('agent_queue_daily', ['local_date', 'queue_key', 'agent_id'], 'local_date'),
    ('concurrency_interval', ['interval_start', 'scope', 'kind'], 'local_hour'),
    ('concurrency_hourly', ['local_hour', 'scope', 'kind'], 'local_hour'),
    ('tag_daily', ['local_date', 'tag'], 'local_date'),
    ('patience', ['week_start', 'queue_key', 'wait_edge_seconds'], 'week_start'),
    ('csat_daily', ['local_date', 'queue_key', 'agent_id', 'question', 'coalesce(scale, 0)'], 'local_date'),
    ('csat_tag_daily', ['local_date', 'tag', 'question', 'coalesce(scale, 0)'], 'local_date'),
] -%}

{# fct_call_events is a view on these rows, each with its call. #}
select 'fct_call_events' as table_name, count(*) as copies
from {{ source('cdr', 'call_history') }}
where {{ is_tested('partition_hour') }}
group by key, position
having copies > 1 or key is null or position is null
{% for table, columns, stale in keys %}
union all
select '{{ table }}' as table_name, count(*) as copies
from {{ ref(table) }}
{%- if stale %}
where {{ is_tested(stale) }}
{%- endif %}
group by {{ columns | join(', ') }}
having copies > 1 {%- for column in columns %} or {{ column }} is null {%- endfor %}
{% endfor %}
