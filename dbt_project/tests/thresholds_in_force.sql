-- The marts were built with other thresholds than seeds/thresholds.csv has now: a build of stale hours does not change
-- them.
-- What to do: run `cdr rebuild`.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'queue_days'}}}) }}

select days.queue_key, days.local_date, days.threshold_seconds, configured.threshold_seconds as configured_seconds
from {{ ref('queue_days') }} as days
asof left join {{ ref('thresholds') }} as configured
    on days.queue_key = configured.queue_key and days.local_date >= configured.valid_from
where
    days.is_configured <> (configured.queue_key is not null)
    or days.threshold_seconds <> configured.threshold_seconds
    or days.short_threshold_seconds <> configured.short_threshold_seconds
