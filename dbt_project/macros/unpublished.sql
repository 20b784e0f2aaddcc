{#
  Notes which hours the published copy has to take over. Takes a query of partition_hours (NULL means all); gives a
  statement that notes them for the model that is being built. Publishing empties the table. Every change of a large
  mart has to be noted: the published copy keeps the old rows of an hour that was not, until the comparison at
  publishing finds it.
#}
{% macro note_unpublished(hours) -%}
    insert into {{ source('cdr', 'unpublished_hours') }}
    select '{{ this.name }}', hour from ({{ hours }}) as hours (hour)
    except
    from {{ source('cdr', 'unpublished_hours') }}
{%- endmacro %}

{# Gives true if the published copy takes over the hours of the model that are noted, and not the whole table. #}
{% macro is_published_by_hour() -%}
    {{ return((config.get('meta') or {}).get('stale') in ('partition_hour', 'local_hour')) }}
{%- endmacro %}
