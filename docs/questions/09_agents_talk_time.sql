-- How much did each agent talk, and how busy were they between their first and last call?
SELECT
    agent_username,
    count(*) AS days,
    sum(answered) AS answered,
    sum(outbound_answered) AS outbound_answered,
    sum(all_talk_seconds) / 3600 AS talk_hours,
    sum(talk_seconds) / nullif(sum(talk_known), 0) AS aht_ex_acw_seconds,
    if(sum(all_talk_seconds) <= sum(span_seconds), sum(all_talk_seconds) / nullif(sum(span_seconds), 0), NULL) AS occupancy
FROM marts.agent_daily
WHERE agent_id <> '(none)'
GROUP BY agent_id, agent_username
ORDER BY talk_hours DESC, agent_username;
