{#
  Takes a list of kinds ('system', 'waiting', 'talking'); gives a subquery: the time that each call spent in each
  kind, cut at the borders of local hours. The workload of an hour is summed from it. One row per call, kind and local
  hour: kind, queue_key, agent_id, local_hour, from_second, to_second (seconds since 1970).

  Time is left out if its end is not known, if it ends more than a day after the call started, or if it begins before
  the hour that precedes the call's own: clocks that are wrong would fill days with it. For that reason, all time of a
  stale hour is that of calls that started in it, in the 24 hours before it or in the hour after it.

  It is a macro and not a view: DuckDB does not push the condition on the hour below the unnesting, so that a view
  would cut the calls of all history for one hour.
#}
{% macro call_hours(kinds) -%}
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
            {% for zone in ['local', 'utc'] -%}
            {% set suffix = '_utc' if zone == 'utc' else '' -%}
            case
                when kind <> 'waiting' then ended_at{{ suffix }}
                when is_answered or is_direct or is_outbound_answered
                    then if(talk_started_at_utc > ended_at_utc, null, talk_started_at{{ suffix }})
                else least(talk_started_at{{ suffix }}, ended_at{{ suffix }})
            end as to_{{ zone }}{{ ',' if not loop.last }}
            {% endfor -%}
        from {{ ref('fct_calls') }}
        where
            not is_vanished
            {%- if in_portions() %}
            and partition_hour in {{ partitions_around('local_hour', partitions_in(24), 1) }}
            {%- endif %}
    ),

    pieces as (
        select
            *,
            unnest(generate_series(
                date_trunc('hour', from_local), date_trunc('hour', to_local), interval 1 hour
            )) as local_hour
        from spans
        where
            from_local >= date_trunc('hour', started_at) - interval 1 hour
            and to_utc <= started_at_utc + interval 24 hours
    )

    select
        kind,
        queue_key,
        agent_id,
        local_hour,
        epoch_us(greatest(from_utc, starts_at_utc)) // 1000000 as from_second,
        epoch_us(least(to_utc, ends_at_utc)) // 1000000 as to_second
    from pieces
    join {{ ref('dim_hours') }} using (local_hour)
    where
        from_second < to_second
        {%- if in_portions() %} and {{ is_stale('local_hour') }} {%- endif %}
)
{%- endmacro %}
