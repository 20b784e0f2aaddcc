{#
  Who is meant by a display name. Calls name an agent by ID and username, their histories by the name that people see.
  Only agent_name_days says which names and agents belong together, and here alone is decided what follows from it.
#}

{#
  Takes 'ring', 'miss' or 'answer'; gives the names of the events that mean it, as an SQL list. They are configured in
  dbt_project.yml.
#}
{% macro events_that_mean(kind) -%}
    ({%- for event in var(kind ~ '_events') -%} '{{ event | lower | trim | replace("'", "''") }}' {{- ", " if not loop.last }} {%- endfor -%})
{%- endmacro %}

{# Gives the kind of an event of a history: ring, miss or answer; NULL for all others. #}
{% macro kind_of_event(event) -%}
    case
            {%- for kind in ['ring', 'miss', 'answer'] %}
            when lower(trim({{ event }})) in {{ events_that_mean(kind) }} then '{{ kind }}'
            {%- endfor %}
        end
{%- endmacro %}

{#
  Gives a subquery of display_name and agent_id, one row per name that belongs to one agent. A name that two agents had
  at any time is not in it, because nobody can tell which of them is meant.
#}
{% macro agents_of_names() -%}
    (
        select display_name, min(agent_id) as agent_id
        from {{ ref('agent_name_days') }}
        group by display_name
        having count(distinct agent_id) = 1
    )
{%- endmacro %}

{#
  Post-hook of fct_rings: when it becomes known whose name a name is, or that two agents have it, rings of hours whose
  calls did not change get another agent. Their days are noted as stale for agent_daily, in the transaction that
  changes the rings: a build that fails afterwards would otherwise leave the day's sums as they were. Days whose
  figures are frozen, because the calls that they were made of are deleted, are left out.
#}
{% macro align_ring_agents() -%}
    create or replace temporary table renamed_rings as
    select rings.partition_hour, rings.call_key, rings.position, rings.local_hour, coalesce(names.agent_id, '(none)') as agent_id
    from {{ this }} as rings
    left join {{ agents_of_names() }} as names using (display_name)
    where rings.agent_id <> coalesce(names.agent_id, '(none)');
    {{ note_unpublished('select partition_hour from renamed_rings') }};
    insert into {{ source('cdr', 'stale_hours') }}
    select local_hour, 'renamed'
    from renamed_rings
    where local_hour >= {{ frozen_until() }}
    except
    from {{ source('cdr', 'stale_hours') }};
    update {{ this }} as rings
    set agent_id = renamed.agent_id
    from renamed_rings as renamed
    where
        rings.partition_hour = renamed.partition_hour
        and rings.call_key = renamed.call_key
        and rings.position = renamed.position
{%- endmacro %}
