{#
  What a build builds again. An hour is stale if its calls have changed since the last good build. The pipeline writes
  and empties the table of stale hours, cdr.stale_hours; dbt only reads it, and adds to it the hours of rings that got
  another agent (macros/names.sql). In a model, the stale hours are those of the portion that is being built
  (macros/portions.sql).

  A model names in its config, as `meta: {stale: column}`, the column by which its rows are replaced:
    partition_hour  partitions with calls that changed
    local_hour      hours that a changed call, as it was or as it is now, counts in, waits in or talks in
    local_date      the days of those hours
    week_start      the weeks of those hours, which begin on Mondays
#}

{#
  Takes one of these columns; gives a subquery of its stale values. Used with IN, it lets DuckDB skip the row groups
  that hold other hours only.
#}
{% macro stale(column) -%}
    {%- if model.resource_type == 'model' -%}
        {%- set hours = "hours_to_build where portion = getvariable('portion') and" -%}
    {%- else -%}
        {%- set hours = source('cdr', 'stale_hours') ~ " where" -%}
    {%- endif -%}
    {%- if column == 'partition_hour' -%}
    (select hour from {{ hours }} reason = 'partition')
    {%- elif column == 'local_hour' -%}
    (select hour from {{ hours }} reason = 'touched')
    {%- elif column == 'local_date' -%}
    (select distinct hour::date from {{ hours }} reason = 'touched')
    {%- elif column == 'week_start' -%}
    (select distinct {{ week_of('hour') }} from {{ hours }} reason = 'touched')
    {%- else -%}
    {{ exceptions.raise_compiler_error("rows can't be replaced by " ~ column) }}
    {%- endif -%}
{%- endmacro %}

{#
  Takes a table, one of these columns and the columns to read; gives the body of a common table expression: the table's
  stale rows, or all rows where no portion is built. DuckDB keeps every column that it reads in memory, long texts too.
  It is materialized, because DuckDB may otherwise join two tables of all history and filter the result: 1.0 s instead
  of 0.01 s at 10 million calls.
#}
{% macro stale_rows(relation, column, columns) -%}
    {%- if in_portions() -%}
    materialized (select {{ columns }} from {{ relation }} where {{ is_stale(column) }})
    {%- else -%}
    (select {{ columns }} from {{ relation }})
    {%- endif -%}
{%- endmacro %}

{# Takes one of these columns; gives the condition that a row is stale. #}
{% macro is_stale(column) -%} {{ column }} in {{ stale(column) }} {%- endmacro %}

{#
  Takes one of these columns; gives the condition that a test looks at a row: if it is stale, and in a build with
  --full-refresh always.
#}
{% macro is_tested(column) -%}
    {%- if flags.FULL_REFRESH -%} {{ column }} is not null {%- else -%} {{ is_stale(column) }} {%- endif -%}
{%- endmacro %}

{#
  Takes one of these columns and two numbers; gives a subquery of partitions: from so many before each stale hour to
  so many after it. For a day, its first hour is meant.
#}
{% macro partitions_around(column, before, after) -%}
    (
        select distinct hour + to_hours(step)
        from {{ stale(column) }} as hours (hour), range(-{{ before }}, {{ after + 1 }}) as steps (step)
    )
{%- endmacro %}

{#
  The incremental strategy of the marts. Takes the table and the one with the rows to insert; gives statements that delete the rows of
  the stale hours, and of other hours that the model has built again, and insert the rows that it has built. dbt's own
  delete+insert deletes only where there are new rows: an hour that lost all its calls would keep its old rows.
#}
{% macro get_incremental_stale_hours_sql(arguments) -%}
    {%- set column = config.get('meta').stale -%}
    {%- if is_published_by_hour() %}
    {{ note_unpublished('select * from ' ~ stale(column) ~ ' union select ' ~ column ~ ' from ' ~ arguments.temp_relation) }};
    {%- endif %}
    delete from {{ arguments.target_relation }}
    where {{ column }} in (
        select * from {{ stale(column) }}
        union
        select {{ column }} from {{ arguments.temp_relation }}
    );
    insert into {{ arguments.target_relation }} by name from {{ arguments.temp_relation }}
{%- endmacro %}
