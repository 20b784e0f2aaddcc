-- Which subjects made customers call again within 24 hours, in the last four weeks?
WITH since AS (
    SELECT max(local_date) - 28 AS local_date FROM marts.queue_daily
),
contacts AS (
    SELECT callid, started_at, repeated_within_24h
    FROM marts.fct_contacts
    WHERE is_repeat_candidate AND window_24h_closed AND local_date > (FROM since)
),
tagged AS (
    SELECT DISTINCT tags.tag, contacts.*
    FROM contacts
    JOIN marts.fct_call_tags AS tags USING (callid)
    WHERE NOT tags.is_vanished AND tags.local_date >= (FROM since)
)
SELECT
    tag,
    count(*) AS contacts,
    count(*) FILTER (WHERE repeated_within_24h) AS repeated,
    count(*) FILTER (WHERE repeated_within_24h) / count(*) AS repeat_rate
FROM tagged
GROUP BY tag
ORDER BY repeated DESC, tag;
