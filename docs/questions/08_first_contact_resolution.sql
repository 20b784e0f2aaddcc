-- After whose contacts do customers call again within 7 days (and what share is settled at the first contact)?
SELECT
    queues.queue_name,
    agents.agent_username,
    count(*) AS contacts,
    count(*) FILTER (WHERE repeated_within_7d) AS repeated,
    count(*) FILTER (WHERE repeated_within_7d) / count(*) AS repeat_rate,
    1 - count(*) FILTER (WHERE repeated_within_7d) / count(*) AS first_contact_resolution
FROM marts.fct_contacts AS contacts
JOIN marts.dim_queues AS queues USING (queue_key)
JOIN marts.dim_agents AS agents USING (agent_id)
WHERE is_repeat_candidate AND window_7d_closed
GROUP BY ALL
ORDER BY repeated DESC, repeat_rate DESC, queue_name, agent_username;
