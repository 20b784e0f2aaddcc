{# Rebuilding fct_contacts: a changed call changes its own contact, and the repeats of the same caller's contacts. #}

{# The callids that calls of stale partitions have now, or had when the contacts were last built. #}
{% macro stale_callids() -%}
    (
        select callid from {{ ref('fct_calls') }} where {{ is_stale('partition_hour') }}
        union
        select callid
        from {{ this }}
        where
            partition_hour in {{ partitions_around('partition_hour', 25, 25) }}
            and (legs > 1 or {{ is_stale('partition_hour') }})
    )
{%- endmacro %}

{# The contacts that such calls may belong to. #}
{% macro is_stale_contact() -%}
    callid in {{ stale_callids() }} and partition_hour in {{ partitions_around('partition_hour', 25, 25) }}
{%- endmacro %}

{% macro get_incremental_stale_contacts_sql(arguments) -%}
    {%- set columns = get_quoted_csv(arguments.dest_columns | map(attribute='name')) -%}
    {{ note_unpublished(
        'select partition_hour from ' ~ arguments.target_relation ~ ' where ' ~ is_stale_contact()
        ~ ' union select partition_hour from ' ~ arguments.temp_relation
    ) }};
    delete from {{ arguments.target_relation }} where {{ is_stale_contact() }};
    delete from {{ arguments.target_relation }}
    where
        partition_hour in (select partition_hour from {{ arguments.temp_relation }})
        and first_call_key in (select first_call_key from {{ arguments.temp_relation }});
    insert into {{ arguments.target_relation }} ({{ columns }})
    select {{ columns }} from {{ arguments.temp_relation }}
{%- endmacro %}

{# Whether so many hours after a contact's start are loaded, every one of them; of `hours`, the row of its own hour. #}
{% macro window_closed(length) -%}
    coalesce(started_at_utc + interval {{ length }} hours <= hours.loaded_until_utc, false)
{%- endmacro %}

{#
  The contacts of which a window has closed, or opened again, since they were built. Read are the hours alone that had an
  open window then or have one now: all of history was closed long ago, and a hole that is never filled keeps a week open.
#}
{% macro window_differs() -%}
    hours.local_hour = contacts.partition_hour
    and contacts.partition_hour in (
        select partition_hour from {{ this }} where not window_7d_closed
        union
        select local_hour
        from {{ ref('dim_hours') }}
        where coalesce(ends_at_utc + interval 168 hours > loaded_until_utc, true)
    )
    and (window_24h_closed <> {{ window_closed(24) }} or window_7d_closed <> {{ window_closed(168) }})
{%- endmacro %}

{# Post-hooks: as hours are loaded, the windows of contacts before them close, whether their calls changed or not. #}
{% macro note_closed_windows() -%}
    {{ note_unpublished(
        'select partition_hour from ' ~ this ~ ' as contacts, ' ~ ref('dim_hours') ~ ' as hours where '
        ~ window_differs()
    ) }}
{%- endmacro %}

{% macro close_windows() -%}
    update {{ this }} as contacts
    set window_24h_closed = {{ window_closed(24) }}, window_7d_closed = {{ window_closed(168) }}
    from {{ ref('dim_hours') }} as hours
    where {{ window_differs() }}
{%- endmacro %}
