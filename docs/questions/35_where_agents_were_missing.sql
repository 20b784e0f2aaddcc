-- In which quarters were the fewest agents seen for what the queue's target needs?
SELECT
    interval_start,
    queue_name,
    offered,
    round(offered_erlangs, 2) AS offered_erlangs,
    positions_erlang_c AS needed,
    agents_seen AS seen,
    gap,
    service_level
FROM marts.staffing_interval
JOIN marts.queue_interval USING (interval_start, queue_key, queue_name, offered)
WHERE gap < 0 OR offered > 0
ORDER BY gap NULLS LAST, offered DESC, interval_start, queue_name
LIMIT 20;
