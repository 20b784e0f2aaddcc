{#
  Takes a list of kinds ('system', 'waiting', 'talking'); gives a subquery: the time that each call spent in each kind,
  cut at the quarters of an hour. The workload of an interval is summed from it. One row per call, kind and quarter:
  kind, queue_key, agent_id, interval_start, local_hour, from_second, to_second (seconds since 1970). An interval of an
  hour that a clock change repeats has two quarters.

  Time is left out if its end is not known, if it ends more than a day after the call started, or if it begins before
  the hour that precedes the call's own: clocks that are wrong would fill days with it. For that reason, all time of a
  stale hour is that of calls that started in it, in the 24 hours before it or in the hour after it.

  It is a macro and not a view: DuckDB does not push the condition on the hour below the unnesting, so that a view
  would cut the calls of all history for one hour.
#}
{% macro call_intervals(kinds) -%}
(
    with spans as (
        select
            queue_key,
            agent_id,
            started_at,
            started_at_utc,
            unnest({{ kinds }}) as kind,
            case kind
                when 'system' then started_at
                when 'waiting' then queued_at
                when 'talking' then if(talk_seconds is null, null, talk_started_at)
            end as from_local,
            case kind
                when 'system' then started_at_utc
                when 'waiting' then queued_at_utc
                when 'talking' then talk_started_at_utc
            end as from_utc,
            -- Waiting ends when the call is answered, or else when it ends. If an answered call has no talk date, or
            -- one after its hang-up, the end of its waiting is not known.
            case
                when kind <> 'waiting' then ended_at_utc
                when is_answered or is_direct or is_outbound_answered
                    then if(talk_started_at_utc > ended_at_utc, null, talk_started_at_utc)
                else least(talk_started_at_utc, ended_at_utc)
            end as to_utc
        from {{ ref('fct_calls') }}
        where
            not is_vanished
            {%- if in_portions() %}
            and partition_hour in {{ partitions_around('local_hour', partitions_in(24), 1) }}
            {%- endif %}
    ),

    seconds as (
        select
            kind,
            queue_key,
            agent_id,
            epoch_us(from_utc) // 1000000 as from_second,
            epoch_us(to_utc) // 1000000 as to_second
        from spans
        where
            from_local >= date_trunc('hour', started_at) - interval 1 hour
            and to_utc <= started_at_utc + interval 24 hours
    ),

    pieces as (
        select *, unnest(range(from_second // 900, (to_second - 1) // 900 + 1)) * 900 as quarter
        from seconds
        where from_second < to_second
    )

    select
        kind,
        queue_key,
        agent_id,
        {{ interval_of(local_time('to_timestamp(quarter)')) }} as interval_start,
        date_trunc('hour', interval_start) as local_hour,
        greatest(from_second, quarter) as from_second,
        least(to_second, quarter + 900) as to_second
    from pieces
    {% if in_portions() -%} where {{ is_stale('local_hour') }} {%- endif %}
)
{%- endmacro %}
