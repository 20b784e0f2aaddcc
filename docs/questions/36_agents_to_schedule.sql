-- How many agents have to be scheduled for each quarter of a usual week, with shrinkage and after-call work?
SELECT
    queue_name,
    weekday,
    strftime(interval_start, '%H:%M') AS starts,
    sum(offered) / count(*) AS offered_per_interval,
    -- The mean of a few weeks; a plan takes the higher of the two where callers must not wait long.
    ceil(sum(agents_erlang_c) / nullif(count(agents_erlang_c), 0)) AS agents_erlang_c,
    ceil(sum(agents_erlang_a) / nullif(count(agents_erlang_a), 0)) AS agents_erlang_a
FROM marts.staffing_interval
JOIN marts.dim_intervals USING (interval_start)
-- On a queue's first day the handle time is not known, and the agents are known for its quiet quarters only.
WHERE handle_seconds IS NOT NULL
GROUP BY ALL
HAVING sum(offered) > 0
ORDER BY queue_name, weekday, starts;
