-- A queue's day is the sum of its hours.
{{ config(meta={'dagster': {'ref': {'name': 'queue_daily'}}}) }}

{% set parts = [
    'calls', 'offered', 'answered', 'abandoned', 'short_abandoned', 'voicemail', 'other_exits', 'left_in_menu', 'direct',
    'outbound', 'outbound_answered', 'assigned', 'missed', 'held', 'transferred', 'agent_hung_up',
    'answered_within_threshold', 'abandoned_within_threshold', 'wait_seconds_answered', 'wait_seconds_offered',
    'wait_seconds_abandoned', 'talk_seconds', 'hold_seconds', 'hold_seconds_held', 'outbound_talk_seconds', 'holds_known',
    'transfers_known', 'wait_known_answered', 'wait_known_offered', 'wait_known_abandoned', 'talk_known', 'hold_known',
    'hold_known_held', 'outbound_talk_known', 'sl_known', 'localrelease_known'
] %}

with summed as (
    select
        local_date,
        queue_key,
        {% for part in parts %} sum({{ part }})::bigint as {{ part }}, {% endfor %}
        {% for edge in wait_edges() %} sum(answered_within_{{ edge }}s)::bigint as answered_within_{{ edge }}s, {% endfor %}
        max(wait_seconds_max) as wait_seconds_max
    from {{ ref('queue_hourly') }}
    where {{ is_tested('local_date') }}
    group by all
),

daily as (
    select
        local_date,
        queue_key,
        {{ parts | join(', ') }},
        {% for edge in wait_edges() %} answered_within_{{ edge }}s, {% endfor %}
        wait_seconds_max
    from {{ ref('queue_daily') }}
    where {{ is_tested('local_date') }}
)

(from summed except all from daily)
union all
(from daily except all from summed)
