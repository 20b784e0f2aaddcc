{{ config(
    meta={'stale': 'local_hour', 'days_after': trailing_days(), 'rows_like': 'queue_interval'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}",
    ]
) }}

-- What an interval needed by the calls offered in it, and whom the calls show at work. The mean handle time and the
-- patience are those of the days before: the few calls of one interval would say more of chance than of the work. For
-- the same reason, the handle time of a weekday's interval needs some calls.
with built as (
    select interval_start, local_hour, local_date, queue_key, offered
    from {{ ref('queue_interval') }}
    {% if in_portions() -%} where {{ is_stale('local_hour') }} {%- endif %}
),

-- The same weekday and interval of the weeks before.
of_weekday as (
    select
        built.interval_start,
        built.queue_key,
        sum(past.talk_seconds)::bigint as talk_seconds,
        sum(past.talk_known)::bigint as talk_known
    from (select interval_start, queue_key, unnest(range(7, {{ trailing_days() + 1 }}, 7)) as days from built) as built
    join {{ ref('queue_interval') }} as past
        on built.queue_key = past.queue_key and past.interval_start = built.interval_start - to_days(days::integer)
    group by all
),

-- All of the queue's days before.
of_queue as (
    select
        days.local_date,
        days.queue_key,
        sum(past.talk_seconds)::bigint as talk_seconds,
        sum(past.talk_known)::bigint as talk_known,
        sum(past.wait_seconds_offered)::bigint as waited_seconds,
        sum(past.wait_known_abandoned)::bigint as abandons
    from (select distinct local_date, queue_key from built) as days
    join {{ ref('queue_daily') }} as past
        on
            days.queue_key = past.queue_key
            and past.local_date between days.local_date - {{ trailing_days() }} and days.local_date - 1
    group by all
),

-- An agent is seen where a talk of the queue's calls goes on, or where such a call was assigned to the agent.
seen as (
    select interval_start, queue_key, count(distinct agent_id) as agents_seen
    from (
        select interval_start, queue_key, agent_id from {{ call_intervals(['talking']) }}
        union all
        select interval_start, queue_key, agent_id
        from {{ ref('fct_calls') }}
        where
            is_assigned
            {%- if in_portions() %} and {{ is_stale('local_hour') }} {%- endif %}
    )
    where agent_id <> '(none)'
    group by all
),

aimed as (
    select
        built.*,
        {%- for name, value in target_values() %}
        {{ value }} as {{ name }} {{- "," if not loop.last }}
        {%- endfor %}
    from built
    asof left join (from {{ targets_read() }} where fault is null) as targets
        on built.queue_key = targets.queue_key and built.local_date >= targets.valid_from
),

loads as (
    select
        aimed.*,
        case
            when of_weekday.talk_known >= {{ var('handle_calls') }} then 'weekday and interval'
            when of_queue.talk_known > 0 then 'queue'
        end as handle_from,
        case handle_from when 'queue' then of_queue.talk_seconds when 'weekday and interval' then of_weekday.talk_seconds end
            as handle_talk_seconds,
        case handle_from when 'queue' then of_queue.talk_known when 'weekday and interval' then of_weekday.talk_known end
            as handle_talk_known,
        -- Calls that were all answered for 0 seconds tell nothing of the work.
        nullif({{ rate('handle_talk_seconds', 'handle_talk_known') }} + after_call_seconds, 0) as handle_seconds,
        intervals.seconds as interval_seconds,
        intervals.is_final,
        if(offered = 0, 0, offered * handle_seconds / interval_seconds) as offered_erlangs,
        of_queue.waited_seconds as patience_waited_seconds,
        of_queue.abandons as patience_abandons,
        {{ rate('nullif(patience_waited_seconds, 0)', 'patience_abandons') }} as patience_seconds
    from aimed
    left join of_weekday using (interval_start, queue_key)
    left join of_queue using (local_date, queue_key)
    left join {{ ref('dim_intervals') }} as intervals using (interval_start)
),

needs as (
    select
        loads.*,
        if(offered = 0, 0, needed.positions_erlang_c) as positions_erlang_c,
        if(offered = 0, 0, needed.positions_erlang_a) as positions_erlang_a
    from loads
    left join {{ agents_needed('loads') }} as needed using (interval_start, queue_key)
)

select
    interval_start,
    local_hour,
    local_date,
    queue_key,
    queue_name,
    offered,
    interval_seconds,
    handle_from,
    handle_talk_seconds,
    handle_talk_known,
    after_call_seconds,
    handle_seconds,
    offered_erlangs,
    patience_waited_seconds,
    patience_abandons,
    patience_seconds,
    {{ mean_at_least('nullif(patience_waited_seconds, 0)', 'patience_abandons') }} as patience_seconds_low,
    {{ mean_at_most('nullif(patience_waited_seconds, 0)', 'patience_abandons') }} as patience_seconds_high,
    target_share,
    target_seconds,
    most_occupancy,
    shrinkage,
    positions_erlang_c,
    positions_erlang_a,
    {{ scheduled('positions_erlang_c') }} as agents_erlang_c,
    {{ scheduled('positions_erlang_a') }} as agents_erlang_a,
    coalesce(agents_seen, 0) as agents_seen,
    coalesce(agents_seen, 0) - positions_erlang_c as gap,
    coalesce(is_final, false) as is_final
from needs
left join seen using (interval_start, queue_key)
join {{ ref('dim_queues') }} using (queue_key)
order by interval_start, queue_key
