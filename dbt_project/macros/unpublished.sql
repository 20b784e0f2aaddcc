{#
  What the published copy has to take in: the hours of a large mart that a build writes, by partition_hour. The pipeline
  empties the table when they are published. A build that writes rows of such a mart and does not note them here leaves
  the copy behind.
#}
{% macro note_unpublished(hours) -%}
    insert into {{ source('cdr', 'unpublished_hours') }}
    select '{{ this.name }}', hour from ({{ hours }}) as hours (hour)
    except
    from {{ source('cdr', 'unpublished_hours') }}
{%- endmacro %}

{# Pre-hook of the marts: a mart that is made from nothing is published whole. #}
{% macro note_rebuilt() -%}
    {%- if config.get('materialized') == 'incremental' and not is_incremental() -%}
    {{ note_unpublished('select null::timestamp') }}
    {%- endif -%}
{%- endmacro %}
