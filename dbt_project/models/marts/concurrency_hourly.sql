{{ config(
    meta={'stale': 'local_hour'},
    post_hook="{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}"
) }}

with pieces as (
    select local_hour, unnest(['(all)', queue_key]) as scope, kind, from_second, to_second
    from {{ call_hours(['system', 'waiting', 'talking']) }}
),

-- Every hour, scope and kind has a number, in the bits above those of a moment: sorted by the sum of both, their counts
-- follow one another, each ending at none. To sort by one number is half the cost of this mart.
workload as materialized (
    select
        row_number() over () as workload_id,
        local_hour,
        scope,
        kind,
        sum(to_second - from_second)::bigint as busy_seconds
    from pieces
    group by all
),

-- Even moments are ends, odd ones starts of the same second: a call that starts as another ends takes its place.
edges as (
    select unnest([(workload_id << 36) + 2 * from_second + 1, (workload_id << 36) + 2 * to_second]) as edge
    from pieces
    join workload using (local_hour, scope, kind)
),

running as (
    select
        edge >> 36 as workload_id,
        edge - (workload_id << 36) as moment,
        sum(if(moment % 2 = 1, 1, -1)) over (order by edge rows unbounded preceding)::integer as calls
    from edges
),

peaks as (
    select workload_id, max(calls) as peak, arg_min(moment // 2, (-calls, moment)) as peak_second
    from running
    group by all
)

select
    local_hour,
    local_date,
    scope,
    kind,
    peak,
    timezone({{ zone() }}, to_timestamp(peak_second)) as peak_at,
    busy_seconds,
    seconds as hour_seconds,
    {{ rate('busy_seconds', 'hour_seconds') }} as erlangs,
    is_final
from workload
join peaks using (workload_id)
join {{ ref('dim_hours') }} using (local_hour)
order by local_hour, scope, kind
