{#
  Takes columns; fails where one of them is NULL, or where two rows have the same values in all of them. `stale` names
  the column by which a usual build looks at stale rows only.
#}
{% test key(model, columns, stale=none) %}
select {{ columns | join(', ') }}, count(*) as copies
from {{ model }}
{% if stale %} where {{ is_tested(stale) }} {% endif %}
group by {{ columns | join(', ') }}
having
    copies > 1
    {%- for column in columns %} or {{ column }} is null {%- endfor %}
{% endtest %}
