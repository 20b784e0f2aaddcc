{#
  How dbt builds the tables and views of this project, in place of its own materializations of these names. Its own ones look up
  the columns of each table, rename tables and drop what they renamed: a third of the time of a small build. A column
  that a changed model has and its table has not fails the insert; a build with --full-refresh adds it.
#}
{% materialization incremental, adapter='duckdb' %}
    {%- set existing = load_cached_relation(this) -%}
    {{ return(build_table(none if should_full_refresh() else existing)) }}
{% endmaterialization %}

{% materialization table, adapter='duckdb' %}
    {{ return(build_table(none)) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set target = this.incorporate(type='view') -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        {#- A model that was a table in an older version. -#}
        {%- if existing is not none and existing.is_table -%} drop table {{ target }}; {%- endif -%}
        create or replace view {{ target }} as ({{ compiled_code }})
    {%- endcall -%}
    {%- do persist_docs(target, model) -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#
  Takes the table whose stale rows are to be replaced by the model's incremental strategy, or none to build it from
  nothing. Both happen in one transaction. Returns what dbt wants of a materialization.
#}
{% macro build_table(existing) %}
    {%- set target = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is none -%}
        {%- call statement('main') -%} create or replace table {{ target }} as ({{ compiled_code }}) {%- endcall -%}
    {%- else -%}
        {%- set built = make_temp_relation(target).include(database=false, schema=false) -%}
        {%- set replace = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy')) -%}
        {%- call statement('main') -%}
            create temporary table {{ built }} as ({{ compiled_code }});
            {{ replace({'target_relation': target, 'temp_relation': built}) }};
            drop table {{ built }}
        {%- endcall -%}
    {%- endif -%}
    {%- do persist_docs(target, model) -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmacro %}
