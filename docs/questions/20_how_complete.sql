-- How complete is each day: hours loaded, calls still open, hours that will not change any more?
SELECT
    local_date,
    count(*) FILTER (WHERE is_loaded) AS hours_loaded,
    count(*) FILTER (WHERE NOT is_loaded AND seconds > 0) AS hours_missing,
    sum(open_calls) AS open_calls,
    count(*) FILTER (WHERE is_final) AS hours_final,
    max(fetched_at) AS newest_fetch
FROM marts.dim_hours
GROUP BY local_date
HAVING count(*) FILTER (WHERE is_loaded) > 0
ORDER BY local_date DESC;
