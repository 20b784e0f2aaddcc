-- What would our service level be under each of the definitions in use?
SELECT
    queue_name,
    answered,
    -- Not known where the vendor sent sl with none of the answered calls.
    if(is_known, in_time / nullif(sl_known + abandoned - short_abandoned, 0), NULL) AS service_level,
    if(is_known, in_time / nullif(sl_known + abandoned, 0), NULL) AS service_level_strict,
    if(is_known, in_time / nullif(sl_known + abandoned - abandoned_in_time, 0), NULL) AS service_level_2t,
    in_time / nullif(sl_known, 0) AS service_level_answered,
    if(is_known, (in_time + abandoned_in_time) / nullif(sl_known + abandoned, 0), NULL) AS service_level_credit
FROM (
    SELECT
        queue_name,
        sum(answered) AS answered,
        sum(abandoned) AS abandoned,
        sum(short_abandoned) AS short_abandoned,
        sum(answered_within_threshold) AS in_time,
        sum(abandoned_within_threshold) AS abandoned_in_time,
        sum(sl_known) AS sl_known,
        sum(answered) = 0 OR sum(sl_known) > 0 AS is_known
    FROM marts.queue_daily
    GROUP BY queue_key, queue_name
)
ORDER BY answered DESC, queue_name;
