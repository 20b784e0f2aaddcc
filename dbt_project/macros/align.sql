{#
  Post-hook of the marts: a renamed member and an hour that has become final show in rows whose calls did not change.
  Updates the rows that differ, and no others.
#}
{% macro align(dimension, key, column) -%}
    update {{ this }} as mart
    set {{ column }} = member.{{ column }}
    from {{ dimension }} as member
    where mart.{{ key }} = member.{{ key }} and mart.{{ column }} <> member.{{ column }}
{%- endmacro %}

{# A day is final when all of its hours are; one that a clock change skips is never read. #}
{% macro final_days() -%}
    (select local_date, bool_and(is_final) as is_final from {{ ref('dim_hours') }} where seconds > 0 group by local_date)
{%- endmacro %}
