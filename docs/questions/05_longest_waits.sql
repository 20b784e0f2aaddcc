-- Who waited longest, and how did it end?
WITH longest AS (
    FROM marts.fct_calls WHERE is_offered ORDER BY wait_seconds DESC NULLS LAST, call_key LIMIT 20
)
SELECT
    queued_at,
    queues.queue_name,
    callerid,
    wait_seconds,
    CASE
        WHEN is_answered THEN 'answered'
        WHEN is_abandoned THEN 'abandoned'
        WHEN is_voicemail THEN 'voicemail'
        ELSE 'other exit'
    END AS outcome,
    agent_username,
    call_key
FROM longest
JOIN marts.dim_queues AS queues USING (queue_key)
ORDER BY wait_seconds DESC NULLS LAST, call_key;
