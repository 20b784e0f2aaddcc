-- What is the net promoter score of each queue, and does its question really run from 0?
SELECT
    queue_name,
    question,
    sum(answers) AS answers,
    100.0 * sum(promoters) / nullif(sum(answers), 0) AS promoters_percent,
    100.0 * sum(detractors) / nullif(sum(answers), 0) AS detractors_percent,
    100.0 * sum(promoters - detractors) / nullif(sum(answers), 0) AS nps,
    -- Without any 0, ask whether the scale runs from 1: the figure is no NPS then.
    sum(zero_scores) AS zero_scores
FROM marts.csat_daily
WHERE scale = 10
GROUP BY ALL
HAVING sum(answers) > 0
ORDER BY question, nps DESC, queue_name;
