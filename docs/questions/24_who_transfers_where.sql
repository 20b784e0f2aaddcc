-- Which queues pass calls on, to where, and after how much talk?
SELECT
    source.queue_name AS from_queue,
    coalesce(target.queue_name, transfers.kind, 'not known') AS to_queue,
    count(*) AS transfers,
    count(*) / sum(count(*)) OVER (PARTITION BY from_queue_key) AS share_of_the_queue,
    sum(seconds_before) / nullif(count(seconds_before), 0) AS talk_seconds_before
FROM marts.fct_transfers AS transfers
JOIN marts.dim_queues AS source ON source.queue_key = from_queue_key
LEFT JOIN marts.dim_queues AS target ON target.queue_key = to_queue_key AND to_queue_key <> '(none)'
GROUP BY from_queue_key, from_queue, to_queue
ORDER BY transfers DESC, from_queue, to_queue;
