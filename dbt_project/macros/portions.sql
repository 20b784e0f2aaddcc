{#
  How a build does with little memory, whatever the number of hours: the hours to build are numbered in portions of so
  many calls, and the rows of one portion are replaced before those of the next are built. A first build is a build of
  every hour. The incremental materialization (macros/materializations.sql) goes through the portions; the SQL of a model
  selects the hours of one by the macros in macros/stale.sql.
#}

{#
  Gives true where the SQL of a model is about the hours of one portion: in a build. Elsewhere it is about all rows: in
  unit tests, and where the project is compiled, from which the lineage of columns is read.
#}
{% macro in_portions() -%} {{ return(execute and flags.WHICH in ('build', 'run')) }} {%- endmacro %}

{#
  Takes whether every hour is to be built; gives the statement that writes a temporary table of the hours to build:
  hour, reason (as in cdr.stale_hours) and portion. A portion has CDR_PORTION_CALLS calls, or the hour that has more. A
  model whose rows are days gets whole days, because it would build a divided day twice.
#}
{% macro number_portions(of_every_hour) -%}
    {%- set is_daily = config.get('meta', {}).get('stale') == 'local_date' -%}
    create or replace temporary table hours_to_build as
    with hours as (
        {%- if of_every_hour %}
        -- A call counts, waits and talks within a day of its start.
        select distinct partition_hour + to_hours(step) as hour, reason
        from (select distinct partition_hour from {{ source('cdr', 'calls') }}),
            range({{ -partitions_in(24) }}, {{ partitions_in(24) + 1 }}) as steps (step),
            (values ('partition'), ('touched')) as reasons (reason)
        {%- else %}
        from {{ source('cdr', 'stale_hours') }}
        {%- endif %}
    ),

    counted as (
        select hour, count(calls.partition_hour) as calls
        from (select distinct hour from hours)
        left join {{ source('cdr', 'calls') }} as calls on calls.partition_hour = hour
        group by hour
    ),

    numbered as (
        select
            hour,
            sum(calls) over (order by {{ "hour::date" if is_daily else "hour" }})::bigint
            // {{ env_var('CDR_PORTION_CALLS') }} as portion
        from counted
    )

    select hour, reason, portion
    from hours
    join numbered using (hour)
{%- endmacro %}
