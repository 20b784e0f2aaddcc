{# The measures of the call marts, once. Parts add up over any rows; a rate is derived from summed parts alone. #}

{# A rate or a mean; NULL, never 0, where there is nothing to divide by. #}
{% macro rate(numerator, denominator) -%}
    ({{ numerator }}) / nullif({{ denominator }}, 0)
{%- endmacro %}

{# A share of time; NULL too where it would be more than all of it: calls of one agent that overlap say no such share. #}
{% macro share_of_time(busy, available) -%}
    case when {{ busy }} <= {{ available }} then {{ rate(busy, available) }} end
{%- endmacro %}

{#
  A share of the calls that were answered or lost. An answered call whose sl is unknown is in neither part. NULL where that
  is all of the answered: the lost alone would make it 0, which nobody knows.
#}
{% macro service_level(served, lost) -%}
    case when answered = 0 or sl_known > 0 then {{ rate(served, 'sl_known + ' ~ lost) }} end
{%- endmacro %}

{# A sum over the calls whose value is known, and how many these are: what a mean of it divides by, never by all calls. #}
{% macro known_sum(value, among, total, known) -%}
    coalesce(sum({{ value }}) filter (where {{ among }}), 0)::bigint as {{ total }},
    count({{ value }}) filter (where {{ among }}) as {{ known }}
{%- endmacro %}

{# A sum over few rows, the legs of a contact: NULL where the value of one of them is unknown, 0 where there is none. #}
{% macro sum_if_known(value, among) -%}
    if(bool_or({{ among }} and {{ value }} is null), null, coalesce(sum({{ value }}) filter (where {{ among }}), 0))::bigint
{%- endmacro %}

{# Longest waits of answered calls, in seconds, up to which the marts count: percentiles roll up from these counts. #}
{% macro wait_edges() -%} {{ return([5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200]) }} {%- endmacro %}

{# Columns that add up, over rows of fct_calls. #}
{% macro call_parts() -%}
    count(*) as calls,
    count(*) filter (where is_offered) as offered,
    count(*) filter (where is_answered) as answered,
    count(*) filter (where is_abandoned) as abandoned,
    count(*) filter (where is_short_abandoned) as short_abandoned,
    count(*) filter (where is_voicemail) as voicemail,
    count(*) filter (where is_other_exit) as other_exits,
    count(*) filter (where is_left_in_menu) as left_in_menu,
    count(*) filter (where is_direct) as direct,
    count(*) filter (where is_outbound) as outbound,
    count(*) filter (where is_outbound_answered) as outbound_answered,
    count(*) filter (where is_assigned) as assigned,
    count(*) filter (where is_missed) as missed,
    count(*) filter (where is_held) as held,
    count(holds) filter (where is_answered) as holds_known,
    count(*) filter (where is_transferred) as transferred,
    count(transfers) filter (where is_answered) as transfers_known,
    count(*) filter (where is_agent_hung_up) as agent_hung_up,
    count(*) filter (where is_localrelease_known) as localrelease_known,
    count(*) filter (where is_answered_within_threshold) as answered_within_threshold,
    count(*) filter (where is_sl_known) as sl_known,
    {{ known_sum('wait_seconds', 'is_answered', 'wait_seconds_answered', 'wait_known_answered') }},
    {{ known_sum('talk_seconds', 'is_answered', 'talk_seconds', 'talk_known') }},
    {{ known_sum('hold_seconds', 'is_answered', 'hold_seconds', 'hold_known') }},
    {{ known_sum('hold_seconds', 'is_held', 'hold_seconds_held', 'hold_known_held') }},
    {{ known_sum('talk_seconds', 'is_outbound_answered', 'outbound_talk_seconds', 'outbound_talk_known') }}
{%- endmacro %}

{# The queues' further parts: thresholds, abandons' waits and the counts that percentiles roll up from. #}
{% macro queue_parts() -%}
    count(*) filter (where is_abandoned_within_threshold) as abandoned_within_threshold,
    {{ known_sum('wait_seconds', 'is_offered', 'wait_seconds_offered', 'wait_known_offered') }},
    {{ known_sum('wait_seconds', 'is_abandoned', 'wait_seconds_abandoned', 'wait_known_abandoned') }},
    {% for edge in wait_edges() -%}
    count(*) filter (where is_answered and wait_seconds <= {{ edge }}) as answered_within_{{ edge }}s,
    {% endfor -%}
    max(wait_seconds) filter (where is_offered) as wait_seconds_max,
    quantile_cont(wait_seconds, [0.5, 0.9, 0.95]) filter (where is_answered) as wait_percentiles
{%- endmacro %}

{# Rates of agents and queues, from the columns of call_parts. #}
{% macro call_rates() -%}
    {{ rate('wait_seconds_answered', 'wait_known_answered') }} as asa_seconds,
    {{ rate('talk_seconds', 'talk_known') }} as aht_ex_acw_seconds,
    {{ rate('held', 'holds_known') }} as hold_rate,
    {{ rate('hold_seconds_held', 'hold_known_held') }} as hold_seconds_per_held,
    {{ rate('hold_seconds', 'hold_known') }} as hold_seconds_per_answered,
    {{ rate('transferred', 'transfers_known') }} as transfer_rate,
    {{ rate('missed', 'assigned') }} as missed_rate,
    {{ rate('outbound_answered', 'outbound') }} as outbound_connect_rate,
    {{ rate('agent_hung_up', 'localrelease_known') }} as agent_hung_up_rate
{%- endmacro %}

{# Rates of queues, from the columns of call_parts and queue_parts. #}
{% macro queue_rates() -%}
    {{ service_level('answered_within_threshold', 'abandoned - short_abandoned') }} as service_level,
    {{ service_level('answered_within_threshold', 'abandoned') }} as service_level_strict,
    {{ service_level('answered_within_threshold', 'abandoned - abandoned_within_threshold') }} as service_level_2t,
    {{ service_level('answered_within_threshold', '0') }} as service_level_answered,
    {{ service_level('answered_within_threshold + abandoned_within_threshold', 'abandoned') }} as service_level_credit,
    {{ rate('abandoned', 'offered') }} as abandonment_rate,
    {{ rate('abandoned - short_abandoned', 'offered - short_abandoned') }} as abandonment_rate_long,
    {{ rate('voicemail', 'offered') }} as voicemail_rate,
    {{ rate('wait_seconds_offered', 'wait_known_offered') }} as wait_seconds_per_offered,
    {{ rate('wait_seconds_abandoned', 'wait_known_abandoned') }} as wait_seconds_per_abandoned
{%- endmacro %}
