-- How did each queue's service level change from half hour to half hour of the last days?
SELECT
    time_bucket(INTERVAL 30 MINUTE, interval_start) AS half_hour,
    queue_name,
    sum(offered) AS offered,
    sum(abandoned) AS abandoned,
    -- Not known where the vendor sent sl with none of the answered calls.
    CASE
        WHEN sum(answered) = 0 OR sum(sl_known) > 0
            THEN sum(answered_within_threshold) / nullif(sum(sl_known + abandoned - short_abandoned), 0)
    END AS service_level,
    sum(wait_seconds_answered) / nullif(sum(wait_known_answered), 0) AS asa_seconds
FROM marts.queue_interval
WHERE local_date > (SELECT max(local_date) - 3 FROM marts.queue_daily)
GROUP BY ALL
HAVING sum(offered) > 0
ORDER BY half_hour DESC, queue_name;
