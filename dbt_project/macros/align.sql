{#
  Post-hook of the small marts. A queue may get another name, and an hour may become final, without a change of the
  calls that a row counts: the build leaves such rows as they are. Takes a dimension (or a subquery), the key that
  joins it to the mart, and a column of both; gives an update of the rows of the mart whose column differs, and of no
  others, after a note of their hours for the published copy.
#}
{% macro align(dimension, key, column) -%}
    {%- set differs = 'mart.' ~ key ~ ' = member.' ~ key ~ ' and mart.' ~ column ~ ' <> member.' ~ column -%}
    {%- if is_published_by_hour() -%}
        {{ note_unpublished('select mart.' ~ config.get('meta').stale ~ ' from ' ~ this ~ ' as mart, ' ~ dimension ~ ' as member where ' ~ differs) }};
    {%- endif %}
    update {{ this }} as mart
    set {{ column }} = member.{{ column }}
    from {{ dimension }} as member
    where {{ differs }}
{%- endmacro %}

{#
  Give subqueries: local_date, or week_start, and is_final. A day is final when all of its hours are, a week when all of
  its hours are loaded and final. An hour that a clock change skips (0 seconds) is never read, and does not count.
#}
{% macro final_days() -%} {{ _final('local_date') }} {%- endmacro %}

{# The day before the first loaded one and the day after the last are in dim_hours, and are not final. #}
{% macro final_weeks() -%} {{ _final('week_start') }} {%- endmacro %}

{% macro _final(period) -%}
    (select {{ period }}, bool_and(is_final) as is_final from {{ ref('dim_hours') }} where seconds > 0 group by {{ period }})
{%- endmacro %}
