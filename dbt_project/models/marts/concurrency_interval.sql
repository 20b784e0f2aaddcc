{{ config(
    meta={'stale': 'local_hour'},
    post_hook="{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}"
) }}

with pieces as (
    select interval_start, local_hour, unnest(['(all)', queue_key]) as scope, kind, from_second, to_second
    from {{ call_intervals(['system', 'waiting', 'talking']) }}
),

-- Every series (interval, scope and kind) has a number. The number and a moment are packed into one integer, so that
-- one sort orders the moments of all series, one series after the other; to sort by three columns doubles the cost of
-- this mart. Each series ends with no call running, so that one running sum serves all of them.
workload as materialized (
    select
        row_number() over () as workload_id,
        interval_start,
        local_hour,
        scope,
        kind,
        sum(to_second - from_second)::bigint as busy_seconds
    from pieces
    group by all
),

-- A moment is twice its second, plus 1 for a start: in the same second, ends come before starts. A call that starts in
-- the second in which another ends takes its place.
edges as (
    select unnest([(workload_id << 36) + 2 * from_second + 1, (workload_id << 36) + 2 * to_second]) as edge
    from pieces
    join workload using (interval_start, scope, kind)
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
    interval_start,
    local_hour,
    local_date,
    scope,
    kind,
    peak,
    to_timestamp(peak_second) as peak_at_utc,
    {{ local_time('peak_at_utc') }} as peak_at,
    busy_seconds,
    seconds as interval_seconds,
    {{ rate('busy_seconds', 'interval_seconds') }} as erlangs,
    is_final
from workload
join peaks using (workload_id)
join {{ ref('dim_intervals') }} using (interval_start, local_hour)
order by interval_start, scope, kind
