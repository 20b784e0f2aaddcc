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
  model whose rows are days gets whole days, because it would build a divided day twice. A model with `meta:
  {days_after: n}` has rows that depend on n days before theirs, and also gets the hours up to n days after those that
  changed. One with `meta: {rows_like: mart}` has a row for each row of another mart with intervals and queues, which
  adds and deletes quiet intervals in hours that no call touches; it also gets the hours in which their rows differ.
  One with `meta: {has_rings: true}` also gets the hours of rings that got another agent.

  A model whose rows are weeks gets every hour of the weeks that changed. It does not get weeks that begin in the hours
  whose calls were deleted, or in the frozen ones after these: it would build them of a part of their calls.
#}
{% macro number_portions(of_every_hour) -%}
    {%- set is_daily = config.get('meta', {}).get('stale') == 'local_date' -%}
    {%- set is_weekly = config.get('meta', {}).get('stale') == 'week_start' -%}
    {%- set whole = week_of('hour') if is_weekly else 'hour::date' if is_daily else 'hour' -%}
    {%- set days_after = config.get('meta', {}).get('days_after') -%}
    {%- set like = config.get('meta', {}).get('rows_like') -%}
    create or replace temporary table hours_to_build as
    with changed as (
        {%- if of_every_hour %}
        -- A call counts, waits and talks within a day of its start.
        select distinct partition_hour + to_hours(step) as hour, reason
        from (
            select partition_hour from {{ source('cdr', 'calls') }}
            union
            select partition_hour from {{ source('cdr', 'loads') }}
        ),
            range({{ -partitions_in(24) }}, {{ partitions_in(24) + 1 }}) as steps (step),
            (values ('partition'), ('touched')) as reasons (reason)
        {%- else %}
        select hour, reason from {{ source('cdr', 'stale_hours') }} where reason <> 'renamed'
        {%- if config.get('meta', {}).get('has_rings') %}
        union
        select hour, 'touched' from {{ source('cdr', 'stale_hours') }} where reason = 'renamed'
        {%- endif %}
        {%- endif %}
    ),

    hours as (
        {%- if is_weekly %}
        select week + to_hours(step::integer) as hour, 'touched' as reason
        from (select distinct {{ week_of('hour') }} as week from changed where reason = 'touched') as weeks,
            range(7 * 24) as steps (step)
        where week >= {{ frozen_until() }}::date
        {%- else %}
        from changed
        {%- endif %}
        {%- if days_after %}
        union
        select dim_hours.local_hour, 'touched'
        from (select distinct hour::date as local_date from changed where reason = 'touched') as days
        join {{ ref('dim_hours') }} as dim_hours
            on dim_hours.local_date between days.local_date + 1 and days.local_date + {{ days_after }}
        {%- endif %}
        {%- if like and not of_every_hour %}
        union
        select local_hour, 'touched'
        from {{ keys_by_hour(this) }} as ours
        full join {{ keys_by_hour(ref(like)) }} as theirs using (local_hour)
        where ours.keys is distinct from theirs.keys
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
            sum(calls) over (order by {{ whole }})::bigint
            // {{ env_var('CDR_PORTION_CALLS') }} as portion
        from counted
    )

    select hour, reason, portion
    from hours
    join numbered using (hour)
{%- endmacro %}

{# Gives a subquery: a hash of the intervals and queues of each hour of a mart. #}
{% macro keys_by_hour(relation) -%}
    (select local_hour, sum(hash(interval_start, queue_key)) as keys from {{ relation }} group by local_hour)
{%- endmacro %}
