-- Whose phone rings in vain, and how often?
SELECT
    agent_username,
    sum(rings) AS rings,
    sum(missed_rings) AS missed_rings,
    sum(missed_rings) / nullif(sum(rings_known), 0) AS missed_ring_rate,
    sum(missed) AS calls_that_nobody_took  -- one of them may have rung several agents
FROM marts.agent_daily
WHERE agent_id <> '(none)'
GROUP BY agent_id, agent_username
ORDER BY missed_ring_rate DESC NULLS LAST, agent_username;
