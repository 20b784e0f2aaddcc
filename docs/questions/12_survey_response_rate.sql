-- What share of the contacts that were answered also answered the survey?
SELECT
    queues.queue_name,
    count(csat_answers) AS answered_contacts,
    count(*) FILTER (WHERE csat_answers > 0) AS with_an_answer,
    count(*) FILTER (WHERE csat_answers > 0) / nullif(count(csat_answers), 0) AS response_rate
FROM marts.fct_contacts AS contacts
JOIN marts.dim_queues AS queues USING (queue_key)
WHERE is_answered
GROUP BY ALL
ORDER BY answered_contacts DESC, queue_name;
