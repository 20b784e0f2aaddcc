-- Did those who hung up waiting call again within 24 hours, or were they lost?
SELECT
    queues.queue_name,
    count(*) AS not_answered,
    count(*) FILTER (WHERE seconds_to_next <= 86400) AS came_back,
    count(*) FILTER (WHERE seconds_to_next <= 86400) / count(*) AS share_that_came_back,
    median(seconds_to_next) FILTER (WHERE seconds_to_next <= 86400) AS median_seconds_until_then
FROM marts.fct_contacts AS contacts
JOIN marts.dim_queues AS queues USING (queue_key)
WHERE has_usable_callerid AND NOT is_answered AND window_24h_closed
GROUP BY ALL
ORDER BY not_answered DESC, queue_name;
