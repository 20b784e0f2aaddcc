-- depends_on: {{ ref("fct_calls") }}
-- How the vendor's fields of a call should agree. It reads the fields themselves: the sets of fct_calls are decided
-- from them even if they contradict each other. A call that does is kept, and this test warns of it.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'fct_calls'}}}) }}

select
    key as call_key,
    case
        when duration <> (epoch_us(hangupdate_utc) - epoch_us(calldate_utc)) // 1000000
            then 'duration is not hangupdate - calldate'
        when calldate_utc > queuedate_utc then 'queued before it started'
        when queuedate_utc > talkdate_utc then 'talking before it was queued'
        when calldate_utc > talkdate_utc then 'talking before it started'
        when talkdate_utc > hangupdate_utc then 'hung up before talking'
        when calldate_utc > hangupdate_utc then 'hung up before it started'
        when queued and queuedate is null then 'queued without a queuedate'
        when answered and talkdate is null then 'answered without a talkdate'
        when talkdate is not null and not coalesce(answered, false) then 'talkdate but not answered'
        when sl and not coalesce(answered, false) then 'within service level but not answered'
        when shortcall and not coalesce(abandon, false) then 'short call but not abandoned'
        when answered and abandon then 'answered and abandoned'
        when inbound and queued and hangupdate is not null and waitduration is null then 'queued without a waitduration'
    end as failure
from {{ source('cdr', 'calls') }}
where {{ is_tested('partition_hour') }} and vanished_at is null and failure is not null
