{#
  How dbt builds the tables and views of this project, in place of its own materializations of these names. Its own ones
  look up the columns of each table, rename tables and drop what they renamed: a third of the time of a small build. A
  column that a changed model has and its table has not fails the insert; a build with --full-refresh adds it. Each of
  ours builds in one transaction, and returns what dbt wants of a materialization.
#}

{#
  Replaces the rows of the hours to build by the model's incremental strategy, portion by portion (macros/portions.sql).
  If there is no table yet, it gets the columns that the model's yml states, and every hour is built.
#}
{% materialization incremental, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set is_new = should_full_refresh() or load_cached_relation(this) is none -%}
    {%- call statement('main', fetch_result=True) -%}
        {%- if is_new %}
        create or replace table {{ target }} (
            {%- for column in model.columns.values() %}
            {{ column.name }} {{ column.data_type }} {{- "," if not loop.last }}
            {%- endfor %}
        );
        {{ note_unpublished('select null::timestamp') }};
        {%- endif %}
        {{ number_portions(is_new) }};
        select distinct portion from hours_to_build order by portion
    {%- endcall -%}
    {{ run_hooks(pre_hooks) }}
    {%- set built = make_temp_relation(target).include(database=false, schema=false) -%}
    {%- set replace = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy')) -%}
    {%- for (portion,) in load_result('main').data -%}
        {%- call statement('portion') -%}
            set variable portion = {{ portion }};
            create temporary table {{ built }} as ({{ compiled_code }});
            {{ replace({'target_relation': target, 'temp_relation': built}) }};
            drop table {{ built }}
        {%- endcall -%}
    {%- endfor -%}
    {{ return(finish(target)) }}
{% endmaterialization %}

{% materialization table, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%} create or replace table {{ target }} as ({{ compiled_code }}) {%- endcall -%}
    {{ return(finish(target)) }}
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
    {{ return(finish(target)) }}
{% endmaterialization %}

{# Takes the table or view that was built: describes it, runs the post-hooks and commits. #}
{% macro finish(target) %}
    {%- do persist_docs(target, model) -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmacro %}
