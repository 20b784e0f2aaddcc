{{ config(
    meta={'stale': 'local_date', 'has_rings': true},
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

-- All talks of the calls of the day, direct and outbound ones too, from the earliest, and until when the earlier ones
-- of the agent went on.
talks as (
    select
        local_date,
        agent_id,
        talk_seconds,
        if(talk_seconds is null, null, talk_started_at) as talked_from,
        if(talk_seconds is null, null, ended_at) as talked_to,
        if(talk_seconds is null, null, epoch_us(talk_started_at_utc)) as from_us,
        if(talk_seconds is null, null, epoch_us(ended_at_utc)) as to_us,
        max(to_us) over (
            partition by local_date, agent_id
            order by from_us, call_key rows between unbounded preceding and 1 preceding
        ) as busy_until_us,
        -- The start of a talk that goes on shows that the agent was there.
        if(
            (is_answered or is_direct or is_outbound_answered) and talk_started_at_utc >= started_at_utc,
            talk_started_at,
            null
        ) as seen_at
    from {{ ref('fct_calls') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_date') }} {%- endif %}
),

talked as (
    select
        local_date,
        agent_id,
        {{ parts_of_calls(known_sum('talk_seconds', 'true', 'all_talk_seconds', 'all_talk_known')) }},
        (max(to_us) - min(from_us)) // 1000000 as span_seconds,
        coalesce(sum(least(to_us, busy_until_us) - from_us) filter (where from_us < busy_until_us) // 1000000, 0)::bigint
            as overlap_seconds,
        span_seconds - all_talk_seconds + overlap_seconds as idle_seconds,
        if(
            span_seconds is null,
            null,
            coalesce(max(from_us - busy_until_us) filter (where from_us > busy_until_us) // 1000000, 0)
        ) as longest_idle_seconds,
        min(talked_from) as first_talk_at,
        max(talked_to) as last_hangup_at,
        min(seen_at) as first_seen_at,
        max(seen_at) as last_seen_at
    from talks
    group by all
),

rung as (
    select
        local_date,
        agent_id,
        count(*) as rings,
        count(*) filter (where outcome <> 'unknown') as rings_known,
        count(*) filter (where outcome = 'missed') as missed_rings,
        min(rung_at) filter (where rung_at::date = local_date) as first_rung_at,
        max(rung_at) filter (where rung_at::date = local_date) as last_rung_at
    from {{ ref('fct_rings') }}
    where
        not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_date') }} {%- endif %}
    group by all
)

select
    local_date,
    agent_id,
    coalesce(agent_username, agent_id) as agent_username,
    coalesce(columns(parts.* exclude (local_date, agent_id)), 0),
    coalesce(all_talk_seconds, 0) as all_talk_seconds,
    coalesce(all_talk_known, 0) as all_talk_known,
    coalesce(overlap_seconds, 0) as overlap_seconds,
    span_seconds,
    idle_seconds,
    longest_idle_seconds,
    rings,
    rings_known,
    missed_rings,
    first_talk_at,
    last_hangup_at,
    least(first_seen_at, first_rung_at) as first_seen_at,
    greatest(last_seen_at, last_hangup_at, last_rung_at) as last_seen_at,
    {{ call_rates() }},
    {{ rate('missed_rings', 'rings_known') }} as missed_ring_rate,
    {{ share_of_time('all_talk_seconds', 'span_seconds') }} as occupancy,
    coalesce(is_final, false) as is_final
from parts
full join rung using (local_date, agent_id)
left join talked using (local_date, agent_id)
left join {{ ref('dim_agents') }} using (agent_id)
left join {{ final_days() }} using (local_date)
order by local_date, agent_id
