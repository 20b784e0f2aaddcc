select
    local_date,
    queue_name,
    agent_username,
    question,
    scale,
    answers,
    score_sum,
    score_squares_sum,
    top_two,
    promoters,
    passives,
    detractors,
    mean_score,
    top_two_share,
    nps,
    is_final
from {{ ref('csat_daily').include(database=false) }}
