-- Which agents' mean score differs from that of all agents by more than chance?
WITH sums AS (
    SELECT
        agent_id,
        agent_username,
        question,
        scale,
        sum(answers) AS n,
        sum(score_sum) AS total,
        sum(score_squares_sum) AS squares
    FROM marts.csat_daily
    GROUP BY ALL
),

agents AS (
    SELECT
        *,
        total / nullif(n, 0) AS mean_score,
        -- The standard error of the mean, from the sum of squares.
        sqrt(greatest(squares - total * total / nullif(n, 0), 0) / nullif(n - 1, 0) / nullif(n, 0)) AS standard_error,
        sum(total) OVER same_question / nullif(sum(n) OVER same_question, 0) AS mean_of_all
    FROM sums
    WINDOW same_question AS (PARTITION BY question, scale)
)

SELECT
    agent_username,
    question,
    scale,
    n AS answers,
    mean_score,
    standard_error,
    mean_of_all,
    CASE
        WHEN n < 10 OR standard_error = 0 THEN 'too few answers'
        -- Of a hundred agents who do not differ, one is named by chance.
        WHEN abs(mean_score - mean_of_all) > 2.58 * standard_error THEN 'differs'
        ELSE 'may be chance'
    END AS difference
FROM agents
WHERE n > 0
ORDER BY question, scale, mean_score - mean_of_all DESC, agent_username;
