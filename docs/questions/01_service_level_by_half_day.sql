-- How did each queue's service level do, morning against afternoon?
SELECT
    local_date,
    queue_name,
    if(hour(local_hour) < 12, 'morning', 'afternoon') AS half_day,
    sum(offered) AS offered,
    sum(answered) AS answered,
    sum(abandoned) AS abandoned,
    -- Not known where the vendor sent sl with none of the answered calls.
    CASE
        WHEN sum(answered) = 0 OR sum(sl_known) > 0
            THEN sum(answered_within_threshold) / nullif(sum(sl_known + abandoned - short_abandoned), 0)
    END AS service_level
FROM marts.queue_hourly
GROUP BY ALL
HAVING sum(offered) > 0
ORDER BY local_date DESC, queue_name, half_day DESC;
