{{ config(
    meta={'stale': 'local_hour'},
    post_hook="{{ align(ref('dim_hours'), 'local_hour', 'is_final') }}"
) }}

-- The highest peak of an hour's intervals is the hour's: no call begins or ends by being cut at a quarter.
with workload as (
    select
        local_hour,
        scope,
        kind,
        max(peak) as peak,
        arg_min(peak_at, (-peak, peak_at_utc)) as peak_at,
        sum(busy_seconds)::bigint as busy_seconds
    from {{ ref('concurrency_interval') }}
    {% if in_portions() -%} where {{ is_stale('local_hour') }} {%- endif %}
    group by all
)

select
    local_hour,
    local_date,
    scope,
    kind,
    peak,
    peak_at,
    busy_seconds,
    seconds as hour_seconds,
    {{ rate('busy_seconds', 'hour_seconds') }} as erlangs,
    is_final
from workload
join {{ ref('dim_hours') }} using (local_hour)
order by local_hour, scope, kind
