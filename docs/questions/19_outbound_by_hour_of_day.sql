-- At which hour do people pick up when we call them?
SELECT
    hour(local_hour) AS hour_of_day,
    sum(outbound) AS outbound,
    sum(outbound_answered) AS outbound_answered,
    sum(outbound_answered) / nullif(sum(outbound), 0) AS outbound_connect_rate,
    sum(outbound_talk_seconds) / nullif(sum(outbound_talk_known), 0) AS talk_seconds_per_answered
FROM marts.queue_hourly
GROUP BY ALL
ORDER BY hour_of_day;
