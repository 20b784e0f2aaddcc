select
    interval_start,
    local_date,
    queue_name,
    offered,
    handle_seconds,
    offered_erlangs,
    patience_seconds,
    target_share,
    target_seconds,
    positions_erlang_c,
    positions_erlang_a,
    agents_erlang_c,
    agents_erlang_a,
    agents_seen,
    gap,
    is_final
from {{ ref('staffing_interval').include(database=false) }}
