-- How many lines were in use at the busiest moment of each day?
SELECT
    local_date,
    max(peak) FILTER (WHERE kind = 'system') AS lines,
    arg_max(peak_at, peak) FILTER (WHERE kind = 'system') AS at,
    max(peak) FILTER (WHERE kind = 'waiting') AS most_waiting,
    max(peak) FILTER (WHERE kind = 'talking') AS most_talking
FROM marts.concurrency_hourly
WHERE scope = '(all)'
GROUP BY local_date
ORDER BY local_date DESC;
