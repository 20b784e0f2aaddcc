-- The workload of all queues adds up to the whole. Peaks do not add up: the whole's peak is at least the highest of a
-- queue, at most the sum of all, and at least its own mean.
{{ config(meta={'dagster': {'ref': {'name': 'concurrency_hourly'}}}) }}

with kinds as (
    select
        local_hour,
        kind,
        max(peak) filter (where scope = '(all)') as peak,
        max(peak) filter (where scope <> '(all)') as highest_queue_peak,
        sum(peak) filter (where scope <> '(all)') as summed_queue_peaks,
        sum(busy_seconds) filter (where scope = '(all)') as busy_seconds,
        sum(busy_seconds) filter (where scope <> '(all)') as summed_busy_seconds,
        max(erlangs) filter (where scope = '(all)') as erlangs
    from {{ ref('concurrency_hourly') }}
    where {{ is_tested('local_hour') }}
    group by all
)

from kinds
where
    kind not in ('system', 'waiting', 'talking')
    or busy_seconds is distinct from summed_busy_seconds
    or peak not between highest_queue_peak and summed_queue_peaks
    or erlangs > peak
