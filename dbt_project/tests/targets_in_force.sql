-- seeds/targets.csv has a line with a fault, which counts nowhere, or one of a queue that no call has; or
-- staffing_interval was built with other targets than the file has now: a build of stale hours does not change them.
-- What to do: correct the line; run `cdr rebuild`.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'staffing_interval'}}}) }}

with targets as (from {{ targets_read() }})

select queue_key, valid_from as local_date, coalesce(fault, 'no call has this queue') as failure
from targets
where fault is not null or queue_key not in (select queue_key from {{ ref('dim_queues') }})
union all
select built.queue_key, min(built.local_date), 'built with another target'
from (
    select distinct queue_key, local_date {%- for name, _ in target_values() %}, {{ name }} {%- endfor %}
    from {{ ref('staffing_interval') }}
) as built
asof left join (from targets where fault is null) as targets
    on built.queue_key = targets.queue_key and built.local_date >= targets.valid_from
where
    {% for name, value in target_values() -%}
    {{ 'or ' if not loop.first }}built.{{ name }} is distinct from {{ value }}
    {% endfor -%}
group by built.queue_key
