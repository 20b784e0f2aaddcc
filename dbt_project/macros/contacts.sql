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
    delete from {{ arguments.target_relation }} where {{ is_stale_contact() }};
    delete from {{ arguments.target_relation }}
    where
        partition_hour in (select partition_hour from {{ arguments.temp_relation }})
        and first_call_key in (select first_call_key from {{ arguments.temp_relation }});
    insert into {{ arguments.target_relation }} ({{ columns }})
    select {{ columns }} from {{ arguments.temp_relation }}
{%- endmacro %}

{# Post-hook: as hours are loaded, the windows of contacts before them close, whether their calls changed or not. #}
{% macro close_windows() -%}
    update {{ this }} as contact
    set
        window_24h_closed = started_at_utc + interval 24 hours <= until_utc,
        window_7d_closed = started_at_utc + interval 168 hours <= until_utc
    from (select max(ends_at_utc) as until_utc from {{ ref('dim_hours') }} where is_loaded)
    where
        not window_7d_closed
        and (
            window_24h_closed <> (started_at_utc + interval 24 hours <= until_utc)
            or window_7d_closed <> (started_at_utc + interval 168 hours <= until_utc)
        )
{%- endmacro %}
