-- What share of the callers would still wait after so many seconds, if nobody answered?
SELECT
    week_start,
    queue_name,
    wait_edge_seconds,
    100 * survival AS would_still_wait_percent,
    -- Not known where nobody has waited so long, or nobody has hung up yet.
    CASE WHEN survival_standard_error > 0 THEN 100 * greatest(survival - 1.96 * survival_standard_error, 0) END
        AS at_least_percent,
    CASE WHEN survival_standard_error > 0 THEN 100 * least(survival + 1.96 * survival_standard_error, 1) END
        AS at_most_percent,
    at_risk AS callers_who_waited_so_long,
    -- Patience in the mean, if callers lose it at the same rate at each moment.
    patience_seconds
FROM marts.patience
ORDER BY week_start DESC, queue_name, wait_edge_seconds;
