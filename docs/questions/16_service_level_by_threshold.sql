-- What share of answered and abandoned calls would be answered in time if the threshold were another (of known waits)?
SELECT
    queue_name,
    sum(wait_known_answered + abandoned) AS calls,
    sum(answered_within_10s) / nullif(sum(wait_known_answered + abandoned), 0) AS within_10s,
    sum(answered_within_20s) / nullif(sum(wait_known_answered + abandoned), 0) AS within_20s,
    sum(answered_within_30s) / nullif(sum(wait_known_answered + abandoned), 0) AS within_30s,
    sum(answered_within_60s) / nullif(sum(wait_known_answered + abandoned), 0) AS within_60s,
    sum(answered_within_120s) / nullif(sum(wait_known_answered + abandoned), 0) AS within_120s
FROM marts.queue_daily
GROUP BY queue_key, queue_name
-- Where no answered call's wait is known, the abandoned alone would make each share 0.
HAVING sum(answered) = 0 OR sum(wait_known_answered) > 0
ORDER BY calls DESC, queue_name;
