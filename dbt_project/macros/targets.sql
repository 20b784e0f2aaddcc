{#
  Gives a subquery: the lines of seeds/targets.csv, with a column `fault`: what is wrong with a line, else NULL. A line
  with a fault counts nowhere: a line in percent would ask for hundreds of agents or for none. The columns of the seed
  are texts, because dbt would otherwise stop at the first that it cannot read, and nothing would be built.
#}
{% macro targets_read() -%}
    (
        with sent as (
            select
                trim(queue_key) as queue_key,
                try_cast(valid_from::varchar as date) as valid_from,
                {% for name in ['share', 'seconds', 'most_occupancy', 'shrinkage', 'after_call_seconds'] -%}
                try_cast({{ name }}::varchar as double) as {{ name }},
                coalesce(trim({{ name }}::varchar), '') = '' as no_{{ name }} {{- "," if not loop.last }}
                {% endfor %}
            from {{ ref('targets') }}
        )

        select
            queue_key,
            valid_from,
            share,
            seconds,
            most_occupancy,
            shrinkage,
            after_call_seconds,
            case
                when valid_from is null then 'valid_from is no date like 2026-03-02'
                when not coalesce(share > 0 and share < 1, false) then 'share is not between 0 and 1'
                when not coalesce(seconds >= 0, false) then 'seconds are not 0 or more'
                when not coalesce(most_occupancy > 0 and most_occupancy <= 1, no_most_occupancy)
                    then 'most_occupancy is not above 0 and up to 1'
                when not coalesce(shrinkage >= 0 and shrinkage < 1, no_shrinkage)
                    then 'shrinkage is not from 0 to below 1'
                when not coalesce(after_call_seconds >= 0, no_after_call_seconds)
                    then 'after_call_seconds are not 0 or more'
                when count(*) over (partition by queue_key, valid_from) > 1 then 'two lines of one queue and day'
            end as fault
        from sent
    )
{%- endmacro %}

{#
  Gives the values of a target, as pairs of a name and an expression on `targets`, a line of targets_read; where the seed
  is silent, the defaults.
#}
{% macro target_values() -%}
    {{ return([
        ('target_share', 'coalesce(targets.share, ' ~ var('target_share') ~ ')::double'),
        ('target_seconds', 'coalesce(targets.seconds, ' ~ var('threshold_seconds') ~ ')::integer'),
        ('most_occupancy', 'coalesce(targets.most_occupancy, 1)::double'),
        ('shrinkage', 'coalesce(targets.shrinkage, 0)::double'),
        ('after_call_seconds', 'coalesce(targets.after_call_seconds, 0)::double'),
    ]) }}
{%- endmacro %}

{# Gives the agents to schedule for so many positions. Rounded first: 21 / (1 - 0.3) is a little more than 30 in floats. #}
{% macro scheduled(positions) -%} ceil(round({{ positions }} / (1 - shrinkage), 9))::bigint {%- endmacro %}
