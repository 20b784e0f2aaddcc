-- After whose calls do customers answer the survey?
SELECT
    agent_username,
    sum(answered_contacts) AS answered_contacts,
    sum(answered_contacts_with_answer) AS with_answer,
    100.0 * sum(answered_contacts_with_answer) / nullif(sum(answered_contacts_known), 0)
        AS response_percent_of_answered_contacts
FROM marts.csat_response_daily
GROUP BY agent_id, agent_username
ORDER BY response_percent_of_answered_contacts DESC NULLS LAST, agent_username;
