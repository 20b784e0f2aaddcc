-- How long are callers in the menu before they reach a queue or an agent, and how many leave there?
SELECT
    outcome,
    count(*) AS calls,
    sum(menu_seconds) / nullif(count(menu_seconds), 0) AS mean_seconds,
    quantile_cont(menu_seconds, 0.5) AS median_seconds,
    quantile_cont(menu_seconds, 0.9) AS p90_seconds
FROM bi.calls
WHERE is_inbound
GROUP BY outcome
ORDER BY calls DESC, outcome;
