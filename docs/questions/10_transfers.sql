-- Where are calls transferred most?
SELECT
    queue_name,
    sum(answered) AS answered,
    sum(transferred) AS transferred,
    sum(transferred) / nullif(sum(transfers_known), 0) AS transfer_rate
FROM marts.queue_daily
GROUP BY queue_key, queue_name
ORDER BY transfer_rate DESC NULLS LAST, queue_name;
