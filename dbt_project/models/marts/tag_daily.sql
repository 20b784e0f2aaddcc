{{ config(
    meta={'stale': 'local_date'},
    post_hook="{{ align(final_days(), 'local_date', 'is_final') }}"
) }}

with calls as {{ stale_rows(
    ref('fct_calls'),
    'local_date',
    '* exclude (callid, queue_name, agent_username, callerid, called_num, uniqueid, recordingurl, answered_by, channel)'
) }},

-- If a call has the same tag twice, it counts once.
tags as (
    select distinct tag, call_key, partition_hour
    from {{ ref('fct_call_tags') }}
    {% if in_portions() -%} where {{ is_stale('local_date') }} {%- endif %}
),

parts as (
    select local_date, tag, {{ parts_of_calls(call_parts()) }}
    from tags
    join calls using (call_key, partition_hour)
    where not is_vanished
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
