{{ config(
    meta={'stale': 'local_date'},
    post_hook="{{ align(final_days(), 'local_date', 'is_final') }}"
) }}

-- A tag that a call carries twice counts once.
with tagged as (
    select distinct tags.tag, calls.*
    from {{ ref('fct_call_tags') }} as tags
    join {{ ref('fct_calls') }} as calls using (call_key, partition_hour)
    where
        not calls.is_vanished
        {%- if is_incremental() %} and tags.{{ is_stale('local_date') }} and calls.{{ is_stale('local_date') }} {%- endif %}
),

parts as (
    select local_date, tag, {{ call_parts() }}
    from tagged
    group by all
)

select
    local_date,
    tag,
    parts.* exclude (local_date, tag),
    {{ call_rates() }},
    {{ rate('abandoned', 'offered') }} as abandonment_rate,
    coalesce(is_final, false) as is_final
from parts
left join {{ final_days() }} using (local_date)
order by local_date, tag
