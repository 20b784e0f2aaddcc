-- Which callers came most often in the last four weeks, and did they reach us?
SELECT
    callerid,
    count(*) AS contacts,
    count(*) FILTER (WHERE is_answered) AS answered,
    count(*) FILTER (WHERE repeated_within_24h) AS repeated_within_24h,
    min(started_at) AS first_at,
    max(started_at) AS last_at
FROM marts.fct_contacts
WHERE has_usable_callerid
    AND local_date > (SELECT max(local_date) - 28 FROM marts.queue_daily)
GROUP BY callerid
HAVING count(*) > 1
ORDER BY contacts DESC, callerid
LIMIT 20;
