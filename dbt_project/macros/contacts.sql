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

{# When the newest hour ends that is loaded: windows up to then are closed. #}
{% macro loaded_until() -%} (select max(ends_at_utc) from {{ ref('dim_hours') }} where is_loaded) {%- endmacro %}

{# Whether a window of a contact has closed, or opened again, since the contact was built. #}
{% macro window_differs() -%}
    not window_7d_closed
    and (
        window_24h_closed <> (started_at_utc + interval 24 hours <= {{ loaded_until() }})
        or window_7d_closed <> (started_at_utc + interval 168 hours <= {{ loaded_until() }})
    )
{%- endmacro %}

{# Post-hooks: as hours are loaded, the windows of contacts before them close, whether their calls changed or not. #}
{% macro note_closed_windows() -%}
    {{ note_unpublished('select partition_hour from ' ~ this ~ ' where ' ~ window_differs()) }}
{%- endmacro %}

{% macro close_windows() -%}
    update {{ this }}
    set
        window_24h_closed = started_at_utc + interval 24 hours <= {{ loaded_until() }},
        window_7d_closed = started_at_utc + interval 168 hours <= {{ loaded_until() }}
    where {{ window_differs() }}
{%- endmacro %}
