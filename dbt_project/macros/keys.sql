{#
  Takes the column of a queue's or an agent's name; gives the key of a call whose queue or agent has no key: the name.
  A name with seven digits or more may be a phone number. Its key begins with "(name) ", so that the published copy can
  tell it from the vendor's keys, which it shows (cdr_assets/publishing/shown.py).
#}
{% macro key_of_name(name) -%}
    if(
            regexp_matches({{ name }}, '(\p{N}\P{N}*){7}'),
            '(name) ' || trim({{ name }}),
            nullif(trim({{ name }}), '')
        )
{%- endmacro %}
