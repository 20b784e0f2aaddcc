-- Of those who hung up waiting, how many came again or were called back within 24 hours, and were they reached?
SELECT
    queue_name,
    count(*) AS abandoned,
    count(*) FILTER (WHERE delay_seconds <= 86400 AND direction = 'inbound') AS came_again,
    count(*) FILTER (WHERE delay_seconds <= 86400 AND direction = 'outbound') AS called_back,
    count(*) FILTER (WHERE delay_seconds <= 86400 AND is_reached) AS reached,
    count(*) FILTER (WHERE delay_seconds <= 86400 AND is_reached) / count(*) AS share_reached,
    median(delay_seconds) FILTER (WHERE delay_seconds <= 86400 AND direction = 'outbound') AS median_seconds_to_callback
FROM marts.fct_callbacks
JOIN marts.dim_queues USING (queue_key)
WHERE has_usable_callerid AND window_24h_closed
GROUP BY queue_key, queue_name
ORDER BY abandoned DESC, queue_name;
