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
  Takes a column, a condition on calls and the names of two results; gives two parts: the sum of the column over these
  calls, and the count of those whose value is known. A mean divides by this count: unknown values would count as 0
  otherwise.
#}
{% macro known_sum(value, among, total, known) -%}
    {{ return([
        (total, "coalesce(sum(" ~ value ~ ") filter (where " ~ among ~ "), 0)::bigint"),
        (known, "count(" ~ value ~ ") filter (where " ~ among ~ ")"),
    ]) }}
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

{#
  Parts are pairs of a name and an expression on the calls of a group. `parts_of_calls` makes them columns of a query on
  fct_calls; `sums_of` makes them columns of a query on a mart that has them already, of shorter periods.
#}
{% macro parts_of_calls(parts) -%}
    {%- for name, expression in parts -%}
    {{ expression }} as {{ name }}{{ "," if not loop.last }}
    {% endfor -%}
{%- endmacro %}

{% macro sums_of(parts) -%}
    {%- for name, _ in parts -%}
    sum({{ name }})::bigint as {{ name }}{{ "," if not loop.last }}
    {% endfor -%}
{%- endmacro %}

{# Gives the parts that queues, agents and tags have in common. #}
{% macro call_parts() -%}
    {%- set counted = [
        ('offered', 'is_offered'), ('answered', 'is_answered'), ('abandoned', 'is_abandoned'),
        ('short_abandoned', 'is_short_abandoned'), ('voicemail', 'is_voicemail'), ('other_exits', 'is_other_exit'),
        ('left_in_menu', 'is_left_in_menu'), ('direct', 'is_direct'), ('outbound', 'is_outbound'),
        ('outbound_answered', 'is_outbound_answered'), ('assigned', 'is_assigned'), ('missed', 'is_missed'),
        ('held', 'is_held'), ('holds_known', 'is_answered and holds is not null'),
        ('transferred', 'is_transferred'), ('transfers_known', 'is_answered and transfers is not null'),
        ('agent_hung_up', 'is_agent_hung_up'), ('localrelease_known', 'is_localrelease_known'),
        ('answered_within_threshold', 'is_answered_within_threshold'), ('sl_known', 'is_sl_known'),
    ] -%}
    {%- set parts = [('calls', 'count(*)')] -%}
    {%- for name, condition in counted -%} {%- do parts.append((name, count_if(condition))) -%} {%- endfor -%}
    {{ return(
        parts
        + known_sum('wait_seconds', 'is_answered', 'wait_seconds_answered', 'wait_known_answered')
        + known_sum('talk_seconds', 'is_answered', 'talk_seconds', 'talk_known')
        + known_sum('hold_seconds', 'is_answered', 'hold_seconds', 'hold_known')
        + known_sum('hold_seconds', 'is_held', 'hold_seconds_held', 'hold_known_held')
        + known_sum('talk_seconds', 'is_outbound_answered', 'outbound_talk_seconds', 'outbound_talk_known')
    ) }}
{%- endmacro %}

{#
  Gives the parts that only queues have: abandons within the threshold, waits of offered and of abandoned calls, time in
  the menu, and counts of waits.
#}
{% macro queue_parts() -%}
    {%- set within = [] -%}
    {%- for outcome in ['answered', 'abandoned'] -%}
        {%- for edge in wait_edges() -%}
            {%- do within.append((
                outcome ~ '_within_' ~ edge ~ 's', count_if('is_' ~ outcome ~ ' and wait_seconds <= ' ~ edge)
            )) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(
        [('abandoned_within_threshold', count_if('is_abandoned_within_threshold'))]
        + known_sum('wait_seconds', 'is_offered', 'wait_seconds_offered', 'wait_known_offered')
        + known_sum('wait_seconds', 'is_abandoned', 'wait_seconds_abandoned', 'wait_known_abandoned')
        + known_sum('menu_seconds', 'is_inbound', 'menu_seconds', 'menu_known')
        + within
    ) }}
{%- endmacro %}

{% macro count_if(condition) -%} {{ return("count(*) filter (where " ~ condition ~ ")") }} {%- endmacro %}

{#
  Gives the percentiles of a queue's waits and talks, as columns of a query that groups rows of fct_calls. They do not
  add up: each period has its own from its calls.
#}
{% macro percentiles() -%}
    quantile_cont(wait_seconds, [0.5, 0.9, 0.95]) filter (where is_answered) as waits,
    quantile_cont(talk_seconds, [0.5, 0.9]) filter (where is_answered) as talks
{%- endmacro %}

{# Gives each percentile as a column of its own, from a query with `percentiles`. #}
{% macro each_percentile() -%}
    waits[1] as wait_seconds_p50,
    waits[2] as wait_seconds_p90,
    waits[3] as wait_seconds_p95,
    talks[1] as talk_seconds_p50,
    talks[2] as talk_seconds_p90
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
    {{ rate('wait_seconds_abandoned', 'wait_known_abandoned') }} as wait_seconds_per_abandoned,
    {{ rate('menu_seconds', 'menu_known') }} as menu_seconds_per_call
{%- endmacro %}

{#
  Gives the parts of satisfaction, of answers to one question on one scale: rows of fct_csat_answers. Scores are summed
  as decimals, because the sum of fractions would depend on the order of the rows. Without a scale, nobody knows which
  scores are the two best. NPS is a measure of the scale from 0 to 10; a scale from 1 to 10 looks the same, so
  `zero_scores` shows whether the question's scores run from 0.
#}
{% macro csat_parts() -%}
    {%- set exact = 'score::decimal(12, 6)' -%}
    {%- set parts = [
        ('answers', 'count(score)'),
        ('answers_without_score', 'count(*) - count(score)'),
        ('impossible_scores', count_if('is_score_impossible')),
        ('score_sum', 'coalesce(sum(' ~ exact ~ '), 0)::double'),
        ('score_squares_sum', 'coalesce(sum(' ~ exact ~ ' * ' ~ exact ~ '), 0)::double'),
        ('top_two', 'case when count(scale) > 0 then ' ~ count_if('is_top_two') ~ ' end'),
    ] -%}
    {%- for name, condition in [
        ('promoters', 'score >= 9'), ('passives', 'score >= 7 and score < 9'), ('detractors', 'score < 7'),
        ('zero_scores', 'score = 0'),
    ] -%}
        {%- do parts.append((name, 'case when max(scale) = 10 then ' ~ count_if(condition) ~ ' end')) -%}
    {%- endfor -%}
    {{ return(parts) }}
{%- endmacro %}

{# Gives the rates of satisfaction, as columns of a query on the columns of csat_parts. #}
{% macro csat_rates() -%}
    {{ rate('score_sum', 'answers') }} as mean_score,
    {{ rate('top_two', 'answers') }} as top_two_share,
    {{ rate('promoters - detractors', 'answers') }} as nps
{%- endmacro %}

{# Gives the question as the key of a group: as sent, without spaces around it. #}
{% macro question_of_rows() -%} coalesce(nullif(trim(question), ''), '(none)') {%- endmacro %}

{#
  Take a total of seconds and a number of events; give the ends of the 95 % confidence interval of the mean time to an
  event, if it is exponential and some times were cut off before their event: 2 * total / the chi-squared quantile with 2
  degrees of freedom for each event (and 2 more for the lower end). The quantile is the approximation of Wilson and
  Hilferty (1931), which is within 0.2 % but for the upper end of few events: these quantiles are written down.
#}
{% macro mean_at_least(total, events) -%}
    case when {{ events }} > 0 then 2 * {{ total }} / {{ _chi_squared('(2 * ' ~ events ~ ' + 2)', '1.959964') }} end
{%- endmacro %}

{% macro mean_at_most(total, events) -%}
    {%- set exact = [
        0.0506356, 0.4844186, 1.2373442, 2.1797307, 3.2469728, 4.4037885, 5.6287261, 6.9076644, 8.2307462, 9.5907774
    ] -%}
    case
        when {{ events }} > 0
            then 2 * {{ total }} / coalesce({{ exact }}[{{ events }}], {{ _chi_squared('(2 * ' ~ events ~ ')', '-1.959964') }})
    end
{%- endmacro %}

{% macro _chi_squared(degrees, z) -%}
    ({{ degrees }} * power(1 - 2 / (9 * {{ degrees }}) + {{ z }} * sqrt(2 / (9 * {{ degrees }})), 3))
{%- endmacro %}
