{{ config(
    meta={'stale': 'local_date'},
    post_hook="{{ align(final_days(), 'local_date', 'is_final') }}"
) }}

with answers as {{ stale_rows(
    ref('fct_csat_answers'),
    'local_date',
    'local_date, partition_hour, call_key, question, score, scale, is_top_two, is_score_impossible, is_vanished'
) }},

-- If a call has the same tag twice, its answers count once.
tags as (
    select distinct tag, call_key, partition_hour
    from {{ ref('fct_call_tags') }}
    {% if in_portions() -%} where {{ is_stale('local_date') }} {%- endif %}
),

parts as (
    select
        local_date,
        tag,
        {{ question_of_rows() }} as question,
        scale,
        {{ parts_of_calls(csat_parts()) }}
    from answers
    join tags using (call_key, partition_hour)
    where not is_vanished
    group by all
)

select
    local_date,
    tag,
    question,
    scale,
    parts.* exclude (local_date, tag, question, scale),
    {{ csat_rates() }},
    coalesce(is_final, false) as is_final
from parts
left join {{ final_days() }} using (local_date)
order by local_date, tag, question, scale
