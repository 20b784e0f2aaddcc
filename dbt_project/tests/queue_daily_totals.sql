-- A queue's hour is the sum of its intervals, and its day the sum of its hours.
{{ config(meta={'dagster': {'ref': {'name': 'queue_daily'}}}) }}

{% for longer, shorter, key in [
    ('queue_hourly', 'queue_interval', 'local_hour'), ('queue_daily', 'queue_hourly', 'local_date')
] %}
{%- set parts -%}
    {%- for name, _ in call_parts() + queue_parts() -%} {{ name }}, {% endfor -%} wait_seconds_max
{%- endset %}

(
    with summed as (
        select {{ key }}, queue_key, {{ sums_of(call_parts() + queue_parts()) }}, max(wait_seconds_max) as wait_seconds_max
        from {{ ref(shorter) }}
        where {{ is_tested(key) }} and calls > 0
        group by all
    ),

    whole as (
        select {{ key }}, queue_key, {{ parts }}
        from {{ ref(longer) }}
        where {{ is_tested(key) }}
    )

    select '{{ longer }}' as table_name, {{ key }}::timestamp as starts_at, queue_key
    from ((from summed except all from whole) union all (from whole except all from summed))
)
{{ 'union all' if not loop.last }}
{% endfor %}
