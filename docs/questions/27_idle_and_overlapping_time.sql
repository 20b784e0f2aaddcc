-- How much of their day do agents talk, how long do they wait for calls, and who has calls that overlap?
SELECT
    agent_username,
    count(span_seconds) AS days,
    sum(all_talk_seconds - overlap_seconds) / nullif(sum(span_seconds), 0) AS share_talked,
    sum(idle_seconds) / nullif(count(idle_seconds), 0) / 3600 AS idle_hours_per_day,
    max(longest_idle_seconds) / 60 AS longest_gap_minutes,
    sum(overlap_seconds) / nullif(sum(all_talk_seconds), 0) AS share_of_talk_that_overlaps,
    mode(hour(first_seen_at)) AS usual_first_hour,
    mode(hour(last_seen_at)) AS usual_last_hour
FROM marts.agent_daily
WHERE agent_id <> '(none)'
GROUP BY agent_id, agent_username
ORDER BY share_of_talk_that_overlaps DESC NULLS LAST, agent_username;
