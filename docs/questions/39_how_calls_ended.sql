-- How did the calls of each day end?
SELECT
    local_date,
    outcome,
    count(*) AS calls,
    count(*) / sum(count(*)) OVER (PARTITION BY local_date) AS share,
    sum(talk_seconds) / nullif(count(talk_seconds), 0) AS mean_talk_seconds
FROM bi.calls
GROUP BY local_date, outcome
ORDER BY local_date DESC, calls DESC, outcome;
