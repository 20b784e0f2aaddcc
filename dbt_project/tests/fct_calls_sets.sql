-- Every call is in exactly one of the main sets, and a call in a smaller set (missed) is in the larger one too
-- (assigned).
{{ config(meta={'dagster': {'ref': {'name': 'fct_calls'}}}) }}

select
    call_key,
    case
        when
            is_offered::int + is_left_in_menu::int + is_direct::int + is_outbound::int + is_vanished::int <> 1
            then 'not one of offered, left in the menu, direct, outbound, vanished'
        when
            is_answered::int + is_abandoned::int + is_voicemail::int + is_other_exit::int <> is_offered::int
            then 'offered is not answered + abandoned + voicemail + other exits'
        when is_short_abandoned and not is_abandoned then 'short abandoned but not abandoned'
        when is_abandoned_within_threshold and not is_abandoned then 'abandoned within threshold but not abandoned'
        when is_sl_known and not is_answered then 'sl known but not answered'
        when is_answered_within_threshold and not is_sl_known then 'answered within threshold but sl not known'
        when is_missed and not is_assigned then 'missed but not assigned'
        when is_outbound_answered and not is_outbound then 'outbound answered but not outbound'
        when
            (is_held or is_transferred or is_localrelease_known) and not is_answered
            then 'held, transferred or released but not answered'
        when is_agent_hung_up and not is_localrelease_known then 'hung up by the agent but localrelease not known'
        when queues.queue_key is null then 'queue is not in dim_queues'
        when agents.agent_id is null then 'agent is not in dim_agents'
        when hours.local_hour is null then 'hour is not in dim_hours'
    end as failure
from {{ ref('fct_calls') }}
left join {{ ref('dim_queues') }} as queues using (queue_key)
left join {{ ref('dim_agents') }} as agents using (agent_id)
left join {{ ref('dim_hours') }} as hours using (local_hour)
where {{ is_tested('partition_hour') }} and failure is not null
