{#
  Every length of time that several models share, in hours, under a name. The models say nowhere 24 or 25 themselves.
#}

{# Gives 24: calls with the same callid are legs of one contact within so many hours. #}
{% macro contact_hours() -%} {{ return(24) }} {%- endmacro %}

{# Gives 24: another contact of a caller within so many hours repeats the first. Columns of fct_contacts are named so. #}
{% macro short_repeat_hours() -%} {{ return(24) }} {%- endmacro %}

{# Gives 168, the longest of these windows: other contacts are looked for no further. #}
{% macro long_repeat_hours() -%} {{ return(168) }} {%- endmacro %}

{#
  Takes a number of hours; gives how many partitions away a call can be that is so many hours away: one more. Partitions
  are hours of the wall clock, and in the night in which it is put forward, 24 hours go through 25 of them.
#}
{% macro partitions_in(hours) -%} {{ return(hours + 1) }} {%- endmacro %}

{# Gives the partitions that lie between a contact's hour and the farthest of its legs. #}
{% macro contact_reach() -%} {{ return(partitions_in(contact_hours())) }} {%- endmacro %}

{# Gives the partitions that lie between a contact and the latest one that repeats it. #}
{% macro repeat_reach() -%} {{ return(partitions_in(long_repeat_hours())) }} {%- endmacro %}

{# Gives 28, in days: handle times and patience are taken from so many days before a day. #}
{% macro trailing_days() -%} {{ return(28) }} {%- endmacro %}
