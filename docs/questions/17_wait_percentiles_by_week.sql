-- How long do 9 of 10 callers wait at the most, week by week (rolled up from counts, off by less than their step)?
WITH weeks AS (
    SELECT
        date_trunc('week', local_date)::DATE AS week_start,
        queue_name,
        sum(wait_known_answered) AS answered,
        [sum(answered_within_5s), sum(answered_within_10s), sum(answered_within_15s), sum(answered_within_20s),
         sum(answered_within_30s), sum(answered_within_45s), sum(answered_within_60s), sum(answered_within_90s),
         sum(answered_within_120s), sum(answered_within_180s), sum(answered_within_300s), sum(answered_within_600s),
         sum(answered_within_1200s), sum(wait_known_answered)] AS counts,
        [0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, max(wait_seconds_max)] AS edges
    FROM marts.queue_daily
    GROUP BY ALL
    HAVING sum(wait_known_answered) > 0
),
steps AS (
    SELECT *, list_position(list_transform(counts, lambda count: count >= 0.9 * answered), true) AS step FROM weeks
)
SELECT
    week_start,
    queue_name,
    answered,
    edges[step] + (edges[step + 1] - edges[step]) * (0.9 * answered - coalesce(counts[step - 1], 0))
        / (counts[step] - coalesce(counts[step - 1], 0)) AS wait_seconds_p90
FROM steps
ORDER BY week_start DESC, queue_name;
