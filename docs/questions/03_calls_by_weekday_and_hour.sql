-- When do customers call: offered calls in a mean hour of each weekday, quiet hours included?
WITH offered AS (
    SELECT local_hour, sum(offered) AS offered FROM marts.queue_hourly GROUP BY local_hour
)
SELECT
    weekday,
    weekday_name,
    hour_of_day,
    count(*) AS hours,
    coalesce(sum(offered), 0) AS offered,
    coalesce(sum(offered), 0) / count(*) AS offered_per_hour
FROM marts.dim_hours
LEFT JOIN offered USING (local_hour)
WHERE is_loaded
GROUP BY ALL
ORDER BY weekday, hour_of_day;
