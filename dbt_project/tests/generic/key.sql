{# The columns are never NULL and, together, unique. `stale` names the column by which only the stale part is looked at. #}
{% test key(model, columns, stale=none) %}
select {{ columns | join(', ') }}, count(*) as copies
from {{ model }}
{% if stale %} where {{ is_tested(stale) }} {% endif %}
group by {{ columns | join(', ') }}
having
    copies > 1
    {%- for column in columns %} or {{ column }} is null {%- endfor %}
{% endtest %}
