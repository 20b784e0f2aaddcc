-- After how long do waiting callers hang up: what share of each queue's abandons came within so many seconds?
SELECT
    queue_name,
    sum(wait_known_abandoned) AS abandoned,
    sum(abandoned_within_10s) / sum(wait_known_abandoned) AS within_10s,
    sum(abandoned_within_30s) / sum(wait_known_abandoned) AS within_30s,
    sum(abandoned_within_60s) / sum(wait_known_abandoned) AS within_60s,
    sum(abandoned_within_120s) / sum(wait_known_abandoned) AS within_120s,
    sum(abandoned_within_300s) / sum(wait_known_abandoned) AS within_300s
FROM marts.queue_daily
GROUP BY queue_key, queue_name
HAVING sum(wait_known_abandoned) > 0
ORDER BY abandoned DESC, queue_name;
