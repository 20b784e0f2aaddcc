"""The marts give exactly the published figures of a real month of a bank's call centre."""

from cdr_assets_tests.marts.built import Marts


def test_calls_by_kind(real_month: Marts) -> None:
    totals = real_month.frame(
        """SELECT sum(calls), sum(left_in_menu), sum(offered), sum(answered), sum(abandoned), sum(short_abandoned),
           sum(answered_within_threshold), sum(abandoned_within_threshold),
           sum(voicemail + other_exits + outbound + direct)
           FROM marts.queue_daily"""
    ).row(0)
    assert totals == (31_359, 1_198, 30_161, 27_060, 3_101, 195, 16_402, 1_006, 0)
    assert real_month.one("SELECT count(*) FROM marts.fct_calls") == 31_359


def test_rates(real_month: Marts) -> None:
    rates = real_month.frame(
        """SELECT
            round(100 * sum(abandoned) / sum(offered), 3),
            round(100 * sum(abandoned - short_abandoned) / sum(offered - short_abandoned), 3),
            round(100 * sum(answered_within_threshold) / sum(answered + abandoned), 3),
            round(100 * sum(answered_within_threshold) / sum(answered + abandoned - short_abandoned), 3),
            round(100 * sum(answered_within_threshold) / sum(answered + abandoned - abandoned_within_threshold), 3),
            round(100 * sum(answered_within_threshold) / sum(answered), 3),
            round(100 * sum(answered_within_threshold + abandoned_within_threshold) / sum(answered + abandoned), 3)
           FROM marts.queue_hourly"""
    ).row(0)
    assert rates == (10.281, 9.698, 54.381, 54.735, 56.258, 60.613, 57.717)


def test_waits(real_month: Marts) -> None:
    waits = real_month.frame(
        """SELECT round(sum(wait_seconds_answered) / sum(answered), 4),
           round(sum(wait_seconds_offered) / sum(offered), 4),
           round(sum(wait_seconds_abandoned) / sum(abandoned), 3) FROM marts.queue_hourly"""
    ).row(0)
    assert waits == (35.0280, 37.6699, 60.724)
    quantiles = real_month.one(
        "SELECT quantile_cont(wait_seconds, [0.5, 0.9, 0.95, 1]) FROM marts.fct_calls WHERE is_answered"
    )
    assert quantiles.to_list() == [3, 111, 157, 1_500]


def test_talk(real_month: Marts) -> None:
    assert real_month.one("SELECT sum(talk_seconds) FROM marts.agent_daily") == 4_964_204
    assert real_month.one("SELECT sum(busy_seconds) FROM marts.agent_hourly") == 4_964_204
    assert real_month.one("SELECT round(sum(talk_seconds) / sum(answered), 4) FROM marts.queue_daily") == 183.4517
    assert real_month.one("SELECT quantile_cont(talk_seconds, 0.5) FROM marts.fct_calls WHERE is_answered") == 113


def test_most_calls_talking_at_once(real_month: Marts) -> None:
    assert real_month.one("SELECT max(peak) FROM marts.concurrency_hourly WHERE kind = 'talking'") == 12


def test_answered_calls_that_end_in_a_later_hour(real_month: Marts) -> None:
    share = real_month.one(
        """SELECT 100 * avg((date_trunc('hour', ended_at) > date_trunc('hour', started_at))::INTEGER)
           FROM marts.fct_calls WHERE is_answered"""
    )
    assert round(share) == 6


def test_percentiles_roll_up_from_the_counts_of_waits(real_month: Marts) -> None:
    """The month's p90 is 111 s. From hourly rows it is right within its bin, from 90 to 120 s."""
    edges = [5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200]
    sums = ", ".join(f"sum(answered_within_{edge}s)::BIGINT" for edge in edges)
    counts = real_month.frame(f"SELECT {sums}, sum(answered)::BIGINT FROM marts.queue_hourly").row(0)
    rank = 0.9 * counts[-1]
    step = next(i for i, count in enumerate(counts) if count >= rank)
    low, high = edges[step - 1], edges[step]
    p90 = low + (high - low) * (rank - counts[step - 1]) / (counts[step] - counts[step - 1])
    assert (low, high) == (90, 120)
    assert low < p90 < high
    assert abs(p90 - 111) < 2


def test_every_hour_is_final(real_month: Marts) -> None:
    assert real_month.one("SELECT count(*) FROM marts.queue_hourly WHERE NOT is_final") == 0
    assert real_month.one("SELECT count(*) FROM marts.queue_daily WHERE NOT is_final") == 0


def test_what_is_warned_of(real_month: Marts) -> None:
    """55 calls have clocks that differ, by at most two minutes. The thresholds, 20 seconds, give no warning."""
    assert {name: result.failures for name, result in real_month.warnings.items()} == {"fct_calls_identities": 55}
    assert real_month.frame("SELECT DISTINCT threshold_seconds FROM intermediate.queue_days").rows() == [(20,)]
