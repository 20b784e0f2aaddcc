{#
  How fct_contacts is rebuilt when calls have changed. The model itself explains contacts and repeats.

  A changed call can change every contact of its callid that lies within contact_reach of it, on either side: without
  the call, a later leg may begin a contact of its own. These contacts are deleted and built again. What they say of
  the next contact is changed in earlier contacts of the same callers, which are compared and written where they
  differ.
#}

{# Gives the window over calls whose earliest start is that of the call's contact: calls are legs of one for a day. #}
{% macro legs_before() -%}
    partition by callid order by started_at_utc
        range between interval {{ contact_hours() }} hours preceding and current row
{%- endmacro %}

{#
  Pre-hook of fct_contacts: notes the callids that calls of the stale partitions have now, or had when the contacts were
  last built, before the first portion changes what is known of the others. A contact of several legs may have one in a
  stale partition whatever its own hour is; a contact of one leg has only the hour in which it started.
#}
{% macro note_stale_callids() -%}
    create or replace temporary table stale_callids as
    with stale as (select hour from hours_to_build where reason = 'partition')

    select callid, partition_hour
    from {{ ref('fct_calls') }}
    where partition_hour in (from stale)
    union
    select callid, partition_hour
    from {{ this }}
    where
        partition_hour in (
            select hour + to_hours(step) from stale, range({{ -contact_reach() }}, {{ contact_reach() + 1 }}) as steps (step)
        )
        and (legs > 1 or date_trunc('hour', started_at) in (from stale))
{%- endmacro %}

{#
  Gives a subquery: the noted callids of the stale partitions. The call that changed lies up to one contact_reach after
  the hour of its contact.
#}
{% macro stale_callids() -%}
    (
        select callid
        from stale_callids
        where partition_hour in {{ partitions_around('partition_hour', contact_reach(), 0) }}
    )
{%- endmacro %}

{# Gives a condition on a row of fct_contacts: it is built again. #}
{% macro is_stale_contact() -%}
    callid in {{ stale_callids() }}
    and partition_hour in {{ partitions_around('partition_hour', contact_reach(), contact_reach()) }}
{%- endmacro %}

{#
  The incremental strategy of fct_contacts: deletes the contacts that are built again, and those earlier ones whose next
  contact is another one now, and inserts what was built. Takes the table and the one with the rows to insert; gives the
  statements.
#}
{% macro get_incremental_stale_contacts_sql(arguments) -%}
    {{ note_unpublished(
        'select partition_hour from ' ~ arguments.target_relation ~ ' where ' ~ is_stale_contact()
        ~ ' union select partition_hour from ' ~ arguments.temp_relation
    ) }};
    delete from {{ arguments.target_relation }} where {{ is_stale_contact() }};
    delete from {{ arguments.target_relation }}
    where
        partition_hour in (select partition_hour from {{ arguments.temp_relation }})
        and first_call_key in (select first_call_key from {{ arguments.temp_relation }});
    insert into {{ arguments.target_relation }} by name from {{ arguments.temp_relation }}
{%- endmacro %}

{#
  Takes a number of hours; gives a condition: every one of so many hours after the contact's start is loaded. `hours`
  has to be the row of dim_hours of the contact's partition_hour.
#}
{% macro window_closed(length) -%}
    coalesce(started_at_utc + interval {{ length }} hours <= hours.loaded_until_utc, false)
{%- endmacro %}

{#
  Gives a condition on `contacts` and `hours`: a window of the contact has closed, or is open again, since it was built.
  Only hours that had an open window then, or have one now, are looked at: in all of history before, windows closed long
  ago. A contact starts up to contact_hours after the hour that it is stored under.
#}
{% macro window_differs() -%}
    hours.local_hour = contacts.partition_hour
    and contacts.partition_hour in (
        select partition_hour from {{ this }} where not window_7d_closed
        union
        select local_hour
        from {{ ref('dim_hours') }}
        where
            coalesce(
                ends_at_utc + interval {{ contact_hours() + long_repeat_hours() }} hours > loaded_until_utc, true
            )
    )
    and (
        window_24h_closed <> {{ window_closed(short_repeat_hours()) }}
        or window_7d_closed <> {{ window_closed(long_repeat_hours()) }}
    )
{%- endmacro %}

{#
  Post-hooks of fct_contacts: when hours are loaded, windows of earlier contacts close, whether or not their calls
  changed. The first notes these contacts' hours for the published copy, the second writes the windows.
#}
{% macro note_closed_windows() -%}
    {{ note_unpublished(
        'select partition_hour from ' ~ this ~ ' as contacts, ' ~ ref('dim_hours') ~ ' as hours where '
        ~ window_differs()
    ) }}
{%- endmacro %}

{% macro close_windows() -%}
    update {{ this }} as contacts
    set
        window_24h_closed = {{ window_closed(short_repeat_hours()) }},
        window_7d_closed = {{ window_closed(long_repeat_hours()) }}
    from {{ ref('dim_hours') }} as hours
    where {{ window_differs() }}
{%- endmacro %}
