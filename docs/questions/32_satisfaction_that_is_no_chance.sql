-- Which agents' mean score differs from that of all agents by more than chance?
WITH agents AS (
    SELECT
        agent_username,
        question,
        scale,
        sum(answers) AS answers,
        sum(score_sum) / nullif(sum(answers), 0) AS mean_score,
        -- The standard error of the mean, from the sum of squares.
        sqrt(greatest(sum(score_squares_sum) - sum(score_sum) * mean_score, 0) / nullif(sum(answers) - 1, 0))
        / sqrt(nullif(sum(answers), 0)) AS standard_error
    FROM marts.csat_daily
    GROUP BY ALL
),

everyone AS (
    SELECT question, scale, sum(score_sum) / nullif(sum(answers), 0) AS mean_of_all FROM marts.csat_daily GROUP BY ALL
)

SELECT
    agents.*,
    mean_of_all,
    CASE
        WHEN agents.answers < 10 THEN 'too few answers'
        WHEN abs(mean_score - mean_of_all) > 1.96 * standard_error THEN 'differs'
        ELSE 'may be chance'
    END AS difference
FROM agents
JOIN everyone ON agents.question = everyone.question AND agents.scale IS NOT DISTINCT FROM everyone.scale
WHERE agents.answers > 0
ORDER BY agents.question, agents.scale, mean_score - mean_of_all DESC, agent_username;
