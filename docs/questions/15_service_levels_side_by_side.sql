-- What would our service level be under each of the definitions in use?
SELECT
    queue_name,
    sum(answered) AS answered,
    sum(answered_within_threshold) / nullif(sum(answered + abandoned - short_abandoned), 0) AS service_level,
    sum(answered_within_threshold) / nullif(sum(answered + abandoned), 0) AS service_level_strict,
    sum(answered_within_threshold)
        / nullif(sum(answered + abandoned - abandoned_within_threshold), 0) AS service_level_2t,
    sum(answered_within_threshold) / nullif(sum(answered), 0) AS service_level_answered,
    sum(answered_within_threshold + abandoned_within_threshold)
        / nullif(sum(answered + abandoned), 0) AS service_level_credit
FROM marts.queue_daily
GROUP BY queue_key, queue_name
ORDER BY answered DESC, queue_name;
