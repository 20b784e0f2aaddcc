{{ config(
    meta={'stale': 'local_hour'},
    post_hook="{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}"
) }}

with pieces as (
    select kind, unnest(['(all)', queue_key]) as scope, local_hour, hour_seconds, is_final, from_utc, to_utc
    from {{ ref('call_hours') }}
    {% if is_incremental() -%} where {{ overlaps_stale_hours() }} {%- endif %}
),

workload as (
    select
        local_hour,
        scope,
        kind,
        is_final,
        hour_seconds,
        sum((epoch_us(to_utc) - epoch_us(from_utc)) // 1000000)::bigint as busy_seconds
    from pieces
    group by all
),

edges as (
    select kind, scope, local_hour, from_utc as at_utc, 1 as step from pieces
    union all
    select kind, scope, local_hour, to_utc, -1 from pieces
),

-- At the same moment ends come before starts: a call that starts as another ends takes its place.
running as (
    select
        kind,
        scope,
        local_hour,
        at_utc,
        sum(step) over (
            partition by kind, scope, local_hour order by at_utc, step rows unbounded preceding
        ) as calls
    from edges
),

peaks as (
    select local_hour, scope, kind, max(calls)::integer as peak, arg_min(at_utc, (-calls, at_utc)) as peak_at_utc
    from running
    group by all
)

select
    local_hour,
    local_hour::date as local_date,
    scope,
    kind,
    peak,
    timezone({{ zone() }}, peak_at_utc) as peak_at,
    busy_seconds,
    hour_seconds,
    {{ rate('busy_seconds', 'hour_seconds') }} as erlangs,
    is_final
from workload
join peaks using (local_hour, scope, kind)
order by local_hour, scope, kind
