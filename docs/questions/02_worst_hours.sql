-- Which were the worst hours: many callers, few of them answered in time?
SELECT
    local_hour,
    sum(offered) AS offered,
    sum(abandoned) AS abandoned,
    sum(answered_within_threshold) / nullif(sum(answered + abandoned - short_abandoned), 0) AS service_level,
    sum(answered + abandoned - short_abandoned) - sum(answered_within_threshold) AS callers_not_served_in_time
FROM marts.queue_hourly
GROUP BY local_hour
HAVING sum(offered) > 0
ORDER BY callers_not_served_in_time DESC, local_hour
LIMIT 20;
