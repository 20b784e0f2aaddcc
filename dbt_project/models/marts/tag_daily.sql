{{ config(
    meta={'stale': 'local_date'},
    post_hook="{{ align(final_days(), 'local_date', 'is_final') }}"
) }}

with tags as {{ stale_rows(ref('fct_call_tags'), 'local_date') }},

calls as {{ stale_rows(ref('fct_calls'), 'local_date') }},

-- If a call has the same tag twice, it counts once.
tagged as (
    select distinct tags.tag, calls.*
    from tags
    join calls using (call_key, partition_hour)
    where not calls.is_vanished
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
