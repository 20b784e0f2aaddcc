-- Which tags come with unhappy customers, each question and scale by itself?
SELECT
    tag,
    question,
    scale,
    sum(answers) AS answers,
    sum(score_sum) / nullif(sum(answers), 0) AS mean_score,
    100.0 * sum(top_two) / nullif(sum(answers), 0) AS top_two_percent
FROM marts.csat_tag_daily
GROUP BY ALL
HAVING sum(answers) > 0
ORDER BY question, scale, mean_score, tag;
