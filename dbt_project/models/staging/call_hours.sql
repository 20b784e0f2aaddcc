-- Each call's time in the system, waiting and talking, cut at the borders of local hours: what workload is summed from.
-- A call that has not ended does not count yet; one that claims to last more than a day counts for its first 24 hours;
-- time that claims to begin before the hour that came before the call's own does not count.
with spans as (
    select
        call_key,
        partition_hour,
        queue_key,
        agent_id,
        started_at,
        started_at_utc,
        unnest(['system', 'waiting', 'talking']) as kind,
        unnest([started_at, queued_at, if(talk_seconds is null, null, talk_started_at)]) as from_local,
        unnest([started_at_utc, queued_at_utc, talk_started_at_utc]) as from_utc,
        unnest([ended_at, coalesce(talk_started_at, ended_at), ended_at]) as to_local,
        unnest([ended_at_utc, coalesce(talk_started_at_utc, ended_at_utc), ended_at_utc]) as to_utc
    from {{ ref('fct_calls') }}
    where not is_vanished and ended_at is not null
),

pieces as (
    select
        * replace (least(to_utc, started_at_utc + interval 24 hours) as to_utc),
        unnest(generate_series(
            date_trunc('hour', from_local),
            date_trunc('hour', least(to_local, started_at + interval 24 hours)),
            interval 1 hour
        )) as local_hour
    from spans
    where from_local >= date_trunc('hour', started_at) - interval 1 hour
)

select
    kind,
    call_key,
    partition_hour,
    queue_key,
    agent_id,
    local_hour,
    greatest(from_utc, starts_at_utc) as from_utc,
    least(to_utc, ends_at_utc) as to_utc,
    seconds as hour_seconds,
    is_final
from pieces
join {{ ref('dim_hours') }} using (local_hour)
where greatest(from_utc, starts_at_utc) < least(to_utc, ends_at_utc)
