-- How many agents does each hour of the week need to meet the targets, if every queue has its own, and how many talked?
WITH needed AS (
    SELECT
        interval_start,
        sum(positions_erlang_c) AS erlang_c,
        sum(positions_erlang_a) AS erlang_a,
        -- Quarters whose load is not known yet say nothing.
        count(*) FILTER (WHERE positions_erlang_c IS NULL) AS unknown,
        count(*) FILTER (WHERE positions_erlang_a IS NULL) AS unknown_patience
    FROM marts.staffing_interval
    GROUP BY interval_start
),
talking AS (
    SELECT interval_start, peak FROM marts.concurrency_interval WHERE scope = '(all)' AND kind = 'talking'
)
SELECT
    weekday,
    weekday_name,
    hour_of_day,
    ceil(sum(erlang_c) / count(*)) AS agents_in_the_mean,
    max(erlang_c) AS agents_for_the_busiest_quarter,
    ceil(
        sum(erlang_a) FILTER (WHERE unknown_patience = 0) / nullif(count(*) FILTER (WHERE unknown_patience = 0), 0)
    ) AS agents_if_callers_hang_up,
    coalesce(max(peak), 0) AS most_talking_at_once
FROM marts.dim_intervals
JOIN needed USING (interval_start)
LEFT JOIN talking USING (interval_start)
WHERE unknown = 0
GROUP BY ALL
ORDER BY weekday, hour_of_day;
