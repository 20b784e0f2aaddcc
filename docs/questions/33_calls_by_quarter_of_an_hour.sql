-- How do the offered calls of each queue spread over the quarters of a day, quiet ones included?
SELECT
    queue_name,
    weekday,
    strftime(interval_start, '%H:%M') AS starts,
    count(*) AS days,
    sum(offered) AS offered,
    sum(offered) / count(*) AS offered_per_interval,
    max(offered) AS most_offered
FROM marts.queue_interval
JOIN marts.dim_intervals USING (interval_start)
GROUP BY ALL
HAVING sum(offered) > 0
ORDER BY queue_name, weekday, starts;
