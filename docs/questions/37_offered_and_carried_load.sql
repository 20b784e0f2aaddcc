-- How much work was offered in each hour of the last week, and how much was carried (all talks, outbound too; offered work has the target's work after calls)?
WITH offered AS (
    SELECT local_hour, queue_key, queue_name, sum(offered_erlangs * interval_seconds) AS offered_seconds,
        -- Without the load of one quarter, the hour's is not known.
        count(*) = count(offered_erlangs) AS is_known
    FROM marts.staffing_interval
    GROUP BY ALL
)
SELECT
    local_hour,
    queue_name,
    if(is_known, offered_seconds / seconds, NULL) AS offered_erlangs,
    coalesce(busy_seconds, 0) / seconds AS carried_erlangs
FROM offered
JOIN marts.dim_hours USING (local_hour)
LEFT JOIN (FROM marts.concurrency_hourly WHERE kind = 'talking') AS talking
    ON talking.local_hour = offered.local_hour AND talking.scope = offered.queue_key
WHERE offered.local_hour > (SELECT max(local_hour) - INTERVAL 7 DAYS FROM marts.queue_hourly)
ORDER BY offered.local_hour DESC, queue_name;
