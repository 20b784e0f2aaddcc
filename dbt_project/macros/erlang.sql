{#
  How many agents a load needs, by queueing theory. Loads are in erlangs, times in seconds. Every argument is SQL that
  may be NULL, and then the result is.

  Erlang C: callers wait as long as it takes (R. B. Cooper, "Introduction to Queueing Theory", 1981, section 3). Erlang A:
  callers hang up after a patience that is exponential (S. Zeltyn and A. Mandelbaum, "Call centers with impatient
  customers: many-server asymptotics of the M/M/n+G queue", 2005, section 2). There, a caller who has to wait meets an
  offered wait of density arrivals * exp(arrivals * (1 - exp(-x)) - served * x), with the mean patience as unit of time.
#}

{#
  Gives the integral of exp(arrivals * (1 - exp(-x)) - served * x) over all x from 0, as a series: the sum of
  arrivals^k / (served * (served + 1) * ... * (served + k)).
#}
{% macro offered_waits(served, arrivals) -%}
    list_sum(list_transform(
        range((greatest({{ arrivals }} - {{ served }}, 0) + 10 * sqrt({{ arrivals }}) + 40)::bigint),
        lambda k: exp(k * ln(greatest({{ arrivals }}, 1e-300)) + lgamma({{ served }}) - lgamma({{ served }} + k + 1))
    ))
{%- endmacro %}

{#
  Takes a relation with a row per interval and queue: interval_start, queue_key, offered_erlangs, handle_seconds,
  patience_seconds, and the target: target_share, target_seconds, most_occupancy. Gives a subquery of its rows with a
  load: interval_start, queue_key and the fewest agents who meet the target, positions_erlang_c and positions_erlang_a.
  Calls of callers who hang up count as not answered in time.
#}
{% macro agents_needed(loads) -%}
(
    -- From no agents to so many that hardly any call waits.
    with states as (
        select
            *,
            unnest(range(ceil(greatest(
                offered_erlangs / most_occupancy, offered_erlangs + 10 * sqrt(offered_erlangs) + 20
            ))::bigint + 1)) as agents,
            floor(offered_erlangs) as most_likely
        from {{ loads }}
        where offered_erlangs > 0
    ),

    -- Proportional to the probability of so many calls at once, if none may wait. The constant keeps the largest near 1.
    weights as (
        select
            *,
            exp(
                (agents - most_likely) * ln(offered_erlangs) - lgamma(agents + 1) + lgamma(most_likely + 1)
            ) as weight
        from states
    ),

    -- Erlang B: the share of the calls that find all agents busy, if none may wait.
    blocking as (
        select *, weight / sum(weight) over with_fewer as blocked
        from weights
        window with_fewer as (partition by interval_start, queue_key order by agents)
    ),

    erlang_c as (
        select
            *,
            lag(blocked) over (partition by interval_start, queue_key order by agents) as blocked_by_one_less,
            if(agents > offered_erlangs, blocked / (1 - offered_erlangs / agents * (1 - blocked)), 1) as waiting,
            1 - waiting * exp(-(agents - offered_erlangs) * target_seconds / handle_seconds) as in_time
        from blocking
    ),

    fewest as (
        select
            interval_start,
            queue_key,
            min(agents) filter (
                where agents > offered_erlangs and in_time >= target_share and not is_too_busy
            ) as positions_erlang_c,
            -- With so many, the share is answered without any wait, even if nobody hangs up: enough for Erlang A too.
            min(agents) filter (where 1 - waiting >= target_share and not is_too_busy) as enough
        from (select *, offered_erlangs > agents * most_occupancy as is_too_busy from erlang_c)
        group by all
    ),

    -- Materialized, because DuckDB may otherwise compute the series below for all agents before it applies this condition,
    -- which takes twelve times as long. With fewer agents, less than the share is answered at all.
    candidates as materialized (
        select
            interval_start,
            queue_key,
            agents,
            offered_erlangs,
            target_share,
            most_occupancy,
            blocked_by_one_less,
            -- A unit of time is the mean patience.
            target_seconds / patience_seconds as until,
            offered_erlangs * patience_seconds / handle_seconds as arrivals,
            agents * patience_seconds / handle_seconds as served
        from erlang_c
        join fewest using (interval_start, queue_key)
        where
            patience_seconds > 0
            and agents >= greatest(offered_erlangs * target_share, 1)
            and agents <= enough
    ),

    waits as materialized (
        select
            *,
            {{ offered_waits('served', 'arrivals') }} as all_waits,
            exp(arrivals * (1 - exp(-until)) - served * until) * {{ offered_waits('served', 'arrivals * exp(-until)') }}
                as longer_waits,
            exp(arrivals * (1 - exp(-until)) - served * until) as wait_is_target
        from candidates
    ),

    erlang_a as (
        select
            *,
            1 / blocked_by_one_less + arrivals * all_waits as every_state,
            (1 / blocked_by_one_less + wait_is_target - 1 + served * (all_waits - longer_waits)) / every_state as in_time,
            offered_erlangs * (1 - (1 + (arrivals - served) * all_waits) / every_state) / agents as occupancy
        from waits
    )

    select
        interval_start,
        queue_key,
        any_value(fewest.positions_erlang_c) as positions_erlang_c,
        -- A number too large: far too few agents for callers of so much patience.
        min(agents) filter (
            where isfinite(every_state) and in_time >= target_share and occupancy <= most_occupancy
        ) as positions_erlang_a
    from fewest
    left join erlang_a using (interval_start, queue_key)
    group by all
)
{%- endmacro %}
