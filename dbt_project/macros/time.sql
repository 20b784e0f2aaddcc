{# Gives the zone of the tenant's wall clock, as an SQL text. #}
{% macro zone() -%} '{{ env_var("ALOTECH_TIMEZONE") }}' {%- endmacro %}

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

{#
  Takes the local time of something in a call, and the instant at which the call started; gives the instant of the
  first. When the clock is put back, a local time is two instants: the earlier one that is not before the call is meant.
#}
{% macro instant_in_call(local_time, started_at_utc) -%}
    if(
            {{ starts_at_utc(local_time) }} >= {{ started_at_utc }},
            {{ starts_at_utc(local_time) }},
            timezone({{ zone() }}, {{ local_time }})
        )
{%- endmacro %}

{# How long after its end an hour must be read to be final, and how long a call may stay without an end. Both are decided
   in cdr_assets/domain/lateness.py, and come by way of the environment. #}
{% macro final_after() -%} interval '{{ env_var("CDR_FINAL_AFTER_HOURS") }} hours' {%- endmacro %}

{#
  Gives the first local hour whose figures are not frozen: so many hours after the last whose calls were deleted
  (cdr_assets/domain/lateness.py). It is -infinity if no calls were deleted.
#}
{% macro frozen_until() -%}
    coalesce(
        (
            select calls_from + interval '{{ env_var("CDR_FIGURES_FROZEN_HOURS") }} hours'
            from {{ source('raw', 'kept_from') }}
        ),
        '-infinity'::timestamp
    )
{%- endmacro %}

{% macro open_for() -%} interval '{{ env_var("CDR_OPEN_FOR_HOURS") }} hours' {%- endmacro %}

{# Takes a local time; gives the quarter of an hour in which it lies: its interval, as planners count. #}
{% macro interval_of(local_time) -%} time_bucket(interval 15 minutes, {{ local_time }}) {%- endmacro %}

{# Takes a local time; gives the Monday of its week. #}
{% macro week_of(local_time) -%} date_trunc('week', {{ local_time }})::date {%- endmacro %}

{# Takes an instant; gives the local time. #}
{% macro local_time(instant) -%} timezone({{ zone() }}, {{ instant }}) {%- endmacro %}
