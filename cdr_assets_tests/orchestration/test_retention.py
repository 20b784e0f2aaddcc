"""The job that deletes old calls, and what the runs after it do with the deleted hours."""

import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from cdr_assets.domain.settings import SettingsError, read_settings
from cdr_assets.orchestration.keys import CDR_KEYS, PAGES_KEY
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record
from cdr_assets_tests.ingest.test_audit import compared

LATE = HOUR + dt.timedelta(days=5)
# The later hour is kept, and the earlier one is not.
DAYS = (dt.datetime.now() - HOUR).days - 2


@pytest.fixture
def kept(calls: ListedCalls, make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    calls.add(record("old", HOUR))
    calls.add(record("new", LATE))
    with Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, cdr_calls_days=DAYS, cdr_callers="clear")
        assert pipeline.run(HOUR).success
        assert pipeline.run(LATE).success
        yield pipeline


def test_deleted_hours_stay_deleted_and_their_figures_stay(kept: Pipeline, calls: ListedCalls) -> None:
    figures = "SELECT local_hour, offered FROM marts.queue_hourly ORDER BY ALL"
    before = kept.ask(figures)
    assert [hour for hour, _ in before] == [HOUR, LATE]
    (result,) = kept.tick("retention", dt.datetime.now(dt.UTC).replace(hour=1, minute=15))
    assert result.success
    for table in ("cdr.calls", "cdr.call_tags", "marts.fct_calls", "raw.cdr_pages"):
        assert kept.ask(f"SELECT DISTINCT partition_hour FROM {table}") == [(LATE,)]
    assert kept.ask_published("SELECT key FROM cdr.calls") == [("new",)]
    assert kept.ask_published("SELECT call_key FROM marts.fct_calls") == [("new",)]
    assert kept.ask(figures) == kept.ask_published(figures) == before
    # A backfill of the hour, and a call by its key, bring nothing back and change no figure.
    calls.edit("old", queuekey="Q2")
    backfill = kept.run(HOUR, selection=[PAGES_KEY, *CDR_KEYS])
    assert not backfill.success
    assert "are not loaded, because CDR_CALLS_DAYS deleted earlier ones" in str(
        kept.ask("SELECT error FROM cdr.loads WHERE error IS NOT NULL")
    )
    assert kept.merge("refresh_call", callkey="old").success
    assert kept.ask("SELECT key FROM cdr.calls") == [("new",)]
    assert kept.ask(figures) == before
    assert compared(kept).differences.is_empty()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"CDR_CALLS_DAYS": "20"}, "CDR_CALLS_DAYS: .* write 35 or more"),
        ({"CDR_CALLS_DAYS": "60", "CDR_RAW_PAGES_DAYS": "90"}, "CDR_CALLS_DAYS: raw pages hold the calls"),
        ({"CDR_CALLS_DAYS": "60", "CDR_MARTS_DAYS": "50"}, "CDR_MARTS_DAYS: .* at least as many days"),
        ({"CDR_MARTS_DAYS": "400"}, "CDR_MARTS_DAYS: .* or remove it"),
    ],
)
def test_days_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{told}"):
        read_settings()
