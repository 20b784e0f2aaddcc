{{ config(
    meta={'stale': 'week_start'},
    post_hook=[
        "{{ align(ref('dim_queues'), 'queue_key', 'queue_name') }}",
        "{{ align(final_weeks(), 'week_start', 'is_final') }}",
    ]
) }}

-- The curve of Kaplan and Meier (1958). A call that was answered, or left the queue otherwise, says only that the caller
-- would have waited longer than that: the wait is censored.
with waits as (
    select {{ week_of('local_date') }} as week_start, queue_key, wait_seconds, count(*) as calls, {{ count_if('is_abandoned') }} as abandons
    from {{ ref('fct_calls') }}
    where
        is_offered
        and not is_vanished
        {%- if in_portions() %} and {{ is_stale('local_date') }} {%- endif %}
    group by all
),

-- All callers who waited so long or longer were at risk. If a hang-up and an answer have the same second, the hang-up
-- came first.
steps as (
    select *, sum(calls) over (partition by week_start, queue_key order by wait_seconds desc)::bigint as at_risk
    from waits
    where wait_seconds is not null
),

curve as (
    select
        week_start,
        queue_key,
        wait_seconds,
        at_risk,
        calls,
        sum(abandons) over until as abandons,
        product(1 - abandons / at_risk) over until as survival,
        sum(abandons / (at_risk * nullif(at_risk - abandons, 0))) over until as variance
    from steps
    window until as (partition by week_start, queue_key order by wait_seconds)
),

queues as (
    select
        week_start,
        queue_key,
        {{ parts_of_calls(
            [('offered', 'sum(calls)::bigint')]
            + [('wait_known_offered', 'coalesce(sum(calls) filter (where wait_seconds is not null), 0)::bigint')]
            + [('wait_known_abandoned', 'coalesce(sum(abandons) filter (where wait_seconds is not null), 0)::bigint')]
            + [('wait_seconds_offered', 'coalesce(sum(wait_seconds * calls), 0)::bigint')]
        ) }}
    from waits
    group by all
),

edges as (
    select queues.*, unnest({{ wait_edges() }})::integer as wait_edge_seconds
    from queues
),

at_edges as (
    select
        edges.*,
        -- Before the first wait, nobody has left.
        case
            when curve.wait_seconds is null then wait_known_offered
            when curve.wait_seconds = wait_edge_seconds then curve.at_risk
            else curve.at_risk - curve.calls
        end as at_risk,
        coalesce(curve.abandons, 0)::bigint as abandoned,
        coalesce(curve.survival, 1) as survival_so_far,
        coalesce(curve.variance, 0) as variance
    from edges
    asof left join curve
        on
            edges.week_start = curve.week_start
            and edges.queue_key = curve.queue_key
            and edges.wait_edge_seconds >= curve.wait_seconds
)

select
    week_start,
    queue_key,
    queue_name,
    wait_edge_seconds,
    at_risk,
    abandoned,
    -- Nobody waited that long, and not all hung up: what the others would have done is not known.
    case when at_risk > 0 or (survival_so_far = 0 and abandoned > 0) then survival_so_far end as survival,
    case when survival > 0 then survival * sqrt(variance) end as survival_standard_error,
    offered,
    wait_known_offered,
    wait_known_abandoned,
    wait_seconds_offered,
    {{ rate('nullif(wait_seconds_offered, 0)', 'wait_known_abandoned') }} as patience_seconds,
    {{ mean_at_least('nullif(wait_seconds_offered, 0)', 'wait_known_abandoned') }} as patience_seconds_low,
    {{ mean_at_most('nullif(wait_seconds_offered, 0)', 'wait_known_abandoned') }} as patience_seconds_high,
    coalesce(is_final, false) as is_final
from at_edges
join {{ ref('dim_queues') }} using (queue_key)
left join {{ final_weeks() }} using (week_start)
order by week_start, queue_key, wait_edge_seconds
