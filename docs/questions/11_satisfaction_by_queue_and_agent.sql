-- How satisfied are customers, by queue and agent, each scale by itself?
SELECT
    queues.queue_name,
    agents.agent_username,
    coalesce(nullif(trim(question), ''), '(none)') AS question,
    scale,
    count(score) AS answers,
    avg(score) AS mean_score,
    count(*) FILTER (WHERE is_top_two) / nullif(count(is_top_two), 0) AS top_two_share
FROM marts.fct_csat_answers AS answers
JOIN marts.dim_queues AS queues USING (queue_key)
JOIN marts.dim_agents AS agents USING (agent_id)
WHERE NOT is_vanished
GROUP BY ALL
HAVING count(score) > 0
ORDER BY queue_name, question, scale, mean_score DESC, agent_username;
