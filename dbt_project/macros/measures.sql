{#
  The measures of the call marts, each written once. Parts are counts and sums: they may be added up over any rows.
  Rates are divided from summed parts, never averaged.
#}

{#
  Takes two SQL expressions; gives their quotient, a rate or a mean: NULL, never 0, where there is nothing to divide
  by.
#}
{% macro rate(numerator, denominator) -%}
    ({{ numerator }}) / nullif({{ denominator }}, 0)
{%- endmacro %}

{#
  Takes busy and available seconds; gives the busy share. It is NULL where more seconds are busy than available: some
  calls of the agent overlap then, and the sum of their seconds is not the time in which the agent was busy.
#}
{% macro share_of_time(busy, available) -%}
    case when {{ busy }} <= {{ available }} then {{ rate(busy, available) }} end
{%- endmacro %}

{#
  Takes two SQL expressions, the calls served in time and the calls lost that a service level counts; gives the share
  of the first among the answered calls whose sl is known and the lost. If there are answered calls and the sl of none
  is known, it is NULL: the lost calls alone would make it 0, which nobody knows.
#}
{% macro service_level(served, lost) -%}
    case when answered = 0 or sl_known > 0 then {{ rate(served, 'sl_known + ' ~ lost) }} end
{%- endmacro %}

{#
  Takes a column, a condition on calls and the names of two results; gives the sum of the column over these calls, and
  the count of those whose value is known. A mean divides by this count: unknown values would count as 0 otherwise.
#}
{% macro known_sum(value, among, total, known) -%}
    coalesce(sum({{ value }}) filter (where {{ among }}), 0)::bigint as {{ total }},
    count({{ value }}) filter (where {{ among }}) as {{ known }}
{%- endmacro %}

{#
  Takes a column and a condition on rows; gives the sum over these rows, for the few legs of a contact: NULL if the
  value of one is unknown, 0 if there are no such rows.
#}
{% macro sum_if_known(value, among) -%}
    if(bool_or({{ among }} and {{ value }} is null), null, coalesce(sum({{ value }}) filter (where {{ among }}), 0))::bigint
{%- endmacro %}

{#
  Gives the waits, in seconds, up to which the marts count answered calls. Percentiles do not add up over rows; these
  counts do, and a percentile over many rows is read from them.
#}
{% macro wait_edges() -%} {{ return([5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200]) }} {%- endmacro %}

{# Gives the parts that queues, agents and tags have in common, as columns of a query that groups rows of fct_calls. #}
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

{#
  Gives the parts that only queues have, as columns of the same query: abandons within the threshold, waits of offered
  and of abandoned calls, counts of waits, and percentiles as a list.
#}
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

{# Gives the rates of queues, agents and tags, as columns of a query on the columns of call_parts. #}
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

{# Gives the rates that only queues have, as columns of a query on the columns of call_parts and queue_parts. #}
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
