{# Schemas are named as they are, without dbt's prefix: analysts read marts.*, wherever it was built. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
