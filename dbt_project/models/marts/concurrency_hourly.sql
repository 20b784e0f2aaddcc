{{ config(
    meta={'stale': 'local_hour'},
    post_hook="{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}"
) }}

with pieces as (
    select
        local_hour,
        unnest(['(all)', queue_key]) as scope,
        kind,
        epoch_us(from_utc) // 1000000 as from_second,
        epoch_us(to_utc) // 1000000 as to_second,
        hour_seconds,
        is_final
    from {{ ref('call_hours') }}
    {% if is_incremental() -%} where {{ overlaps_stale_hours() }} {%- endif %}
),

-- Numbers in place of hour, scope and kind: the window below is the cost of this mart, and half as dear by a number.
workload as (
    select
        row_number() over () as workload_id,
        local_hour,
        scope,
        kind,
        is_final,
        hour_seconds,
        sum(to_second - from_second)::bigint as busy_seconds
    from pieces
    group by all
),

-- Calls more, or fewer, from this second on. Ends and starts of the same second are one step, so that ends come first:
-- a call that starts as another ends takes its place.
steps as (
    select workload_id, edge.second, sum(edge.step)::integer as step
    from (
        select
            workload_id,
            unnest([{second: from_second, step: 1}, {second: to_second, step: -1}]) as edge
        from pieces
        join workload using (local_hour, scope, kind)
    )
    group by all
),

running as (
    select
        workload_id,
        second,
        sum(step) over (partition by workload_id order by second rows unbounded preceding)::integer as calls
    from steps
),

peaks as (
    select workload_id, max(calls) as peak, arg_min(second, (-calls, second)) as peak_second
    from running
    group by all
)

select
    local_hour,
    local_hour::date as local_date,
    scope,
    kind,
    peak,
    timezone({{ zone() }}, to_timestamp(peak_second)) as peak_at,
    busy_seconds,
    hour_seconds,
    {{ rate('busy_seconds', 'hour_seconds') }} as erlangs,
    is_final
from workload
join peaks using (workload_id)
order by local_hour, scope, kind
