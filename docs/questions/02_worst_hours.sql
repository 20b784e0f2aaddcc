-- Which were the worst hours: many callers, few of them answered in time?
SELECT
    local_hour,
    sum(offered) AS offered,
    sum(abandoned) AS abandoned,
    -- Not known where the vendor sent sl with none of the answered calls.
    CASE
        WHEN sum(answered) = 0 OR sum(sl_known) > 0
            THEN sum(answered_within_threshold) / nullif(sum(sl_known + abandoned - short_abandoned), 0)
    END AS service_level,
    -- As far as is known: answered calls without an sl are not among them.
    sum(sl_known + abandoned - short_abandoned) - sum(answered_within_threshold) AS callers_not_served_in_time
FROM marts.queue_hourly
GROUP BY local_hour
HAVING sum(offered) > 0
ORDER BY callers_not_served_in_time DESC, local_hour
LIMIT 20;
