{#
  Replaces dbt's macro of this name, which takes a table, its model and what is to be described. Writes the
  descriptions that the table does not have yet as DuckDB comments. dbt's own macro writes all of them in every build:
  400 changes of the catalogue, and of the file, even if no row has changed.
#}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- set table = "database_name = '" ~ relation.database ~ "' and schema_name = '" ~ relation.schema
        ~ "' and table_name = '" ~ relation.identifier ~ "'" -%}
    {%- set known = {} -%}
    {%- for name, comment in run_query(
        "select '', comment from duckdb_tables() where " ~ table
        ~ " union all select '', comment from duckdb_views() where " ~ table.replace('table_name', 'view_name')
        ~ " union all select column_name, comment from duckdb_columns() where " ~ table
    ).rows -%}
        {%- do known.update({name: comment}) -%}
    {%- endfor -%}

    {%- set comments = [] -%}
    {%- if for_relation and config.persist_relation_docs() and model.description != known[''] -%}
        {%- do comments.append("comment on " ~ relation.type ~ " " ~ relation ~ " is " ~ duckdb_escape_comment(model.description)) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- for name, column in model.columns.items() if name in known and column.description != known[name] -%}
            {%- do comments.append(
                "comment on column " ~ relation ~ "." ~ adapter.quote(name) ~ " is " ~ duckdb_escape_comment(column.description)
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if comments -%} {%- do run_query(comments | join(';\n')) -%} {%- endif -%}
{%- endmacro %}
