{#
  What an incremental build rebuilds. cdr.stale_hours says which hours changed since the last good build; the pipeline
  writes and empties it, dbt only reads it.

  A model names, as `meta: {stale: column}`, the column that its rows are replaced by:
    partition_hour  calls of these partitions changed
    local_hour      a changed call, in its old or new content, had to do with these hours
    local_date      the days of those hours
#}

{# The stale values of a column, as a subquery. A semi-join on it lets DuckDB skip all row groups of other hours. #}
{% macro stale(column) -%}
    {%- if column == 'partition_hour' -%}
    (select hour from {{ source('cdr', 'stale_hours') }} where reason = 'partition')
    {%- elif column == 'local_hour' -%}
    (select hour from {{ source('cdr', 'stale_hours') }} where reason = 'touched')
    {%- elif column == 'local_date' -%}
    (select distinct hour::date from {{ source('cdr', 'stale_hours') }} where reason = 'touched')
    {%- else -%}
    {{ exceptions.raise_compiler_error("rows can't be replaced by " ~ column) }}
    {%- endif -%}
{%- endmacro %}

{#
  The stale rows of a table, as a common table expression; all of them in a build from nothing. Materialized, or DuckDB
  may join two tables of all history and filter what comes out: 1.0 s in place of 0.01 s at 10 million calls.
#}
{% macro stale_rows(relation, column) -%}
    {%- if is_incremental() -%}
    materialized (select * from {{ relation }} where {{ is_stale(column) }})
    {%- else -%}
    (select * from {{ relation }})
    {%- endif -%}
{%- endmacro %}

{# The condition that a row is stale. #}
{% macro is_stale(column) -%} {{ column }} in {{ stale(column) }} {%- endmacro %}

{# A condition for tests: the stale part in a usual build, everything in a build with --full-refresh. #}
{% macro is_tested(column) -%}
    {%- if flags.FULL_REFRESH -%} {{ column }} is not null {%- else -%} {{ is_stale(column) }} {%- endif -%}
{%- endmacro %}

{# The partitions from so many hours before to so many after the stale hours, as a subquery. #}
{% macro partitions_around(column, before, after) -%}
    (
        select distinct hour + to_hours(step)
        from {{ stale(column) }} as hours (hour), range(-{{ before }}, {{ after + 1 }}) as steps (step)
    )
{%- endmacro %}

{#
  Deletes the rows of the stale hours, and of whatever other hours the model has built again, and inserts what it has
  built. dbt's own delete+insert deletes by the new rows alone: an hour that lost all its calls would keep them.
#}
{% macro get_incremental_stale_hours_sql(arguments) -%}
    {%- set column = config.get('meta').stale -%}
    {%- set columns = get_quoted_csv(arguments.dest_columns | map(attribute='name')) -%}
    {%- if column == 'partition_hour' %}
    {{ note_unpublished('select * from ' ~ stale(column) ~ ' union select partition_hour from ' ~ arguments.temp_relation) }};
    {%- endif %}
    delete from {{ arguments.target_relation }}
    where {{ column }} in (
        select * from {{ stale(column) }}
        union
        select {{ column }} from {{ arguments.temp_relation }}
    );
    insert into {{ arguments.target_relation }} ({{ columns }})
    select {{ columns }} from {{ arguments.temp_relation }}
{%- endmacro %}
