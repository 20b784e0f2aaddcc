-- How long does the phone ring before an agent answers, misses it, or the caller is gone?
SELECT
    queue_name,
    outcome,
    count(call_key) AS rings,
    count(ring_seconds) AS ring_known,
    sum(ring_seconds) / nullif(count(ring_seconds), 0) AS ring_seconds_per_ring,
    quantile_cont(ring_seconds, 0.9) AS ring_seconds_p90
FROM marts.fct_rings
RIGHT JOIN marts.dim_queues USING (queue_key)  -- a row without rings where histories do not tell of any
WHERE is_vanished IS NOT TRUE
GROUP BY ALL
ORDER BY queue_name, rings DESC;
