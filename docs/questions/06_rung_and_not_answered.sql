-- Who was rung and did not answer, and how often?
SELECT
    agent_username,
    sum(assigned) AS assigned,
    sum(missed) AS missed,
    sum(missed) / nullif(sum(assigned), 0) AS missed_rate
FROM marts.agent_daily
GROUP BY agent_id, agent_username
HAVING sum(assigned) > 0
ORDER BY missed DESC, missed_rate DESC, agent_username;
