-- Every listed call is a leg of a contact. With --full-refresh: all contacts together have as many legs as there are
-- calls.
{{ config(meta={'dagster': {'ref': {'name': 'fct_contacts'}}}) }}

select call_key
from {{ ref('fct_calls') }} as calls
where
    {{ is_tested('partition_hour') }}
    and not is_vanished
    and not exists (
        from {{ ref('fct_contacts') }} as contacts
        where
            contacts.callid = calls.callid
            and contacts.started_at_utc <= calls.started_at_utc
            and contacts.started_at_utc >= calls.started_at_utc - interval {{ contact_hours() }} hours
            {% if not flags.FULL_REFRESH -%}
            and contacts.partition_hour in {{ partitions_around('partition_hour', contact_reach(), 0) }}
            {%- endif %}
    )
{% if flags.FULL_REFRESH -%}
union all
select 'in all'
where
    (select sum(legs) from {{ ref('fct_contacts') }})
    <> (select count(*) from {{ ref('fct_calls') }} where not is_vanished)
{%- endif %}
