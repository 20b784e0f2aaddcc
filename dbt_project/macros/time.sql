{# Gives the zone of the tenant's wall clock, as an SQL text. #}
{% macro zone() -%} '{{ env_var("ALOTECH_TIMEZONE", "Europe/Istanbul") }}' {%- endmacro %}

{#
  Takes a local hour; gives the instant at which it starts. When the clock is put back, one hour happens twice: it
  starts with its first pass and lasts 7200 seconds, while DuckDB alone would give the start of the second pass. When
  the clock is put forward, the skipped hour and the one after it start at the same instant.
#}
{% macro starts_at_utc(local_hour) -%}
    least(
        timezone({{ zone() }}, {{ local_hour }}),
        timezone({{ zone() }}, {{ local_hour }} - interval 1 hour) + interval 1 hour
    )
{%- endmacro %}
