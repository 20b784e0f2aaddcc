-- A queue's sl flags contradict its threshold: the configured one is wrong, or the vendor's was changed without notice.
-- What to do: put the queue's threshold and the day it holds from into seeds/thresholds.csv, then run `cdr rebuild`.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'dim_queues'}}}) }}

select queue_key, local_date, threshold_seconds, longest_wait_within, shortest_wait_beyond
from {{ ref('queue_days') }} as today
where
    {{ is_tested('local_date') }}
    and (
        longest_wait_within > threshold_seconds
        or shortest_wait_beyond <= threshold_seconds
        or (
            not is_configured
            and exists (
                from {{ ref('queue_days') }} as earlier
                where
                    earlier.queue_key = today.queue_key
                    and earlier.local_date between today.local_date - 7 and today.local_date - 1
                    and (
                        earlier.longest_wait_within >= today.shortest_wait_beyond
                        or earlier.shortest_wait_beyond <= today.longest_wait_within
                    )
            )
        )
    )
