-- How do agents compare with others on the same queue, in handle time, holds and transfers?
WITH agents AS (
    SELECT
        queue_key,
        queue_name,
        agent_username,
        sum(answered) AS answered,
        sum(talk_seconds) AS talk_seconds,
        sum(talk_known) AS talk_known,
        sum(held) / nullif(sum(holds_known), 0) AS hold_rate,
        sum(transferred) / nullif(sum(transfers_known), 0) AS transfer_rate
    FROM marts.agent_queue_daily
    WHERE agent_id <> '(none)'
    GROUP BY queue_key, queue_name, agent_id, agent_username
)

SELECT
    queue_name,
    agent_username,
    answered,
    talk_seconds / nullif(talk_known, 0) AS aht_ex_acw_seconds,
    sum(talk_seconds) OVER of_queue / nullif(sum(talk_known) OVER of_queue, 0) AS aht_of_the_queue,
    aht_ex_acw_seconds / nullif(aht_of_the_queue, 0) AS against_the_queue,
    hold_rate,
    transfer_rate
FROM agents
WINDOW of_queue AS (PARTITION BY queue_key)
QUALIFY answered >= 5
ORDER BY queue_name, against_the_queue DESC NULLS LAST, agent_username;
