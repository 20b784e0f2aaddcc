-- How many agents does each hour of the week need: the mean and the busiest load of talking, at 85 % occupancy?
WITH talking AS (
    SELECT local_hour, busy_seconds, peak FROM marts.concurrency_hourly WHERE scope = '(all)' AND kind = 'talking'
)
SELECT
    weekday,
    weekday_name,
    hour_of_day,
    coalesce(sum(busy_seconds), 0) / sum(seconds) AS erlangs,
    max(coalesce(busy_seconds, 0) / seconds) AS busiest_erlangs,
    max(peak) AS most_at_once,
    ceil(coalesce(sum(busy_seconds), 0) / sum(seconds) / 0.85) AS agents_for_the_mean,
    ceil(max(coalesce(busy_seconds, 0) / seconds) / 0.85) AS agents_for_the_busiest
FROM marts.dim_hours
LEFT JOIN talking USING (local_hour)
WHERE is_loaded
GROUP BY ALL
ORDER BY weekday, hour_of_day;
