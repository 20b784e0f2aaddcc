-- Did a day's figures change after they were first built, and by how much?
-- Which hours, when and by how many calls: SELECT * FROM cdr.restatements WHERE local_hour::DATE = '2026-03-02' ORDER BY ALL;
SELECT
    local_date,
    count(DISTINCT restatements.local_hour) AS hours_restated,
    count(DISTINCT restatements.local_hour) FILTER (WHERE was_final) AS hours_that_were_final,
    coalesce(sum(offered_after - offered_before), 0) AS offered_change,
    coalesce(sum(answered_after - answered_before), 0) AS answered_change,
    coalesce(sum(abandoned_after - abandoned_before), 0) AS abandoned_change,
    max(restated_at) AS last_restated_at
FROM marts.dim_hours
LEFT JOIN cdr.restatements AS restatements USING (local_hour)
WHERE is_loaded
GROUP BY local_date
ORDER BY local_date DESC;
