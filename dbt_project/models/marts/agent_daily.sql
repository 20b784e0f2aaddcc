{{ config(
    meta={'stale': 'local_date'},
    post_hook=[
        "{{ align(ref('dim_agents'), 'agent_id', 'agent_username') }}",
        "{{ align(final_days(), 'local_date', 'is_final') }}",
    ]
) }}

with parts as (
    select local_date, agent_id, {{ sums_of(call_parts() + [('busy_seconds', '')]) }}
    from {{ ref('agent_hourly') }}
    {% if in_portions() -%} where {{ is_stale('local_date') }} {%- endif %}
    group by all
),

-- All talks of the calls of the day, direct and outbound ones too.
talks as (
    select
        local_date,
        agent_id,
        {{ parts_of_calls(known_sum('talk_seconds', 'true', 'all_talk_seconds', 'all_talk_known')) }},
        (
            max(epoch_us(ended_at_utc)) filter (where talk_seconds is not null)
            - min(epoch_us(talk_started_at_utc)) filter (where talk_seconds is not null)
        ) // 1000000 as span_seconds,
        min(talk_started_at) filter (where talk_seconds is not null) as first_talk_at,
        max(ended_at) filter (where talk_seconds is not null) as last_hangup_at
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_date') }} {%- endif %}
    group by all
)

select
    local_date,
    agent_id,
    agent_username,
    parts.* exclude (local_date, agent_id),
    coalesce(all_talk_seconds, 0) as all_talk_seconds,
    coalesce(all_talk_known, 0) as all_talk_known,
    span_seconds,
    first_talk_at,
    last_hangup_at,
    {{ call_rates() }},
    {{ share_of_time('all_talk_seconds', 'span_seconds') }} as occupancy,
    coalesce(is_final, false) as is_final
from parts
left join talks using (local_date, agent_id)
join {{ ref('dim_agents') }} using (agent_id)
left join {{ final_days() }} using (local_date)
order by local_date, agent_id
