"""The audit finds every difference between the warehouse and the API, and knows which are excused."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest

from cdr_assets.ingest.audit import Audit, audit
from cdr_assets.ingest.fetching import Alotech
from cdr_assets.orchestration.partitions import hourly_partitions, hours_between
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.warehouse import Warehouse, WarehouseError
from cdr_assets_tests.cli.command import cdr
from cdr_assets_tests.conftest import HOUR, TOKEN, UP_TO_THE_CALLS, Pipeline, pipelines_in, record

NEXT = dt.timedelta(hours=1)


def compared(pipeline: Pipeline, hours: int = 1, age: dt.timedelta = dt.timedelta(days=60)) -> Audit:
    """Audits the hours from HOUR on, when the first hour ended `age` ago."""
    zone = pipeline.settings.zone
    now = (HOUR + NEXT).replace(tzinfo=zone).astimezone(dt.UTC) + age
    start = HOUR.replace(tzinfo=zone)
    chosen = hours_between(hourly_partitions(pipeline.settings), start, start + hours * NEXT, now)
    return audit(chosen, Alotech(pipeline.settings), Warehouse(pipeline.settings.warehouse_path), now)


def listed() -> list[dict[str, Any]]:
    return [
        record(f"k{n}", HOUR + dt.timedelta(seconds=20 * n), recordingurl="https://x/@signature@") for n in range(120)
    ]


@pytest.fixture(scope="module")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after a run over the listed calls."""
    with Sandbox(ListedCalls(listed()), token=TOKEN) as sandbox, pipelines_in(tmp_path_factory.mktemp("once")) as make:
        pipeline = make(sandbox.base_url, alotech_tenant="acme")
        assert pipeline.run(HOUR, selection=UP_TO_THE_CALLS).success
    return pipeline.settings.warehouse_path


@pytest.fixture
def loaded(pipeline: Pipeline, calls: ListedCalls, loaded_once: Path) -> Pipeline:
    """A pipeline with a copy of that warehouse, whose sandbox lists the same calls."""
    for made in listed():
        calls.add(made)
    # The same tenant at another port, so that the warehouse accepts it.
    pipeline.settings.alotech_tenant = "acme"
    pipeline.settings.warehouse_path.parent.mkdir(parents=True)
    shutil.copy(loaded_once, pipeline.settings.warehouse_path)
    return pipeline


def test_what_is_equal_is_equal_whatever_link_was_signed_anew(loaded: Pipeline) -> None:
    found = compared(loaded)
    assert found.differences.height == 0
    assert str(found) == "120 calls in 1 h: 120 equal, 0 late change, 0 missing, 0 unknown"


CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a field": ({"agent": "x@y"}, ["agent"]),
    "a date": ({"hangupdate": None}, ["hangupdate", "hangupdate_utc"]),
    "a new field": ({"mood": 1}, ["extra"]),
    "a tag": ({"call_tags": ["fatura", "iade"]}, ["call_tags_count", "call_tags"]),
    "an event": ({"call_history": [{"event": "enter"}, {"event": "hangup"}]}, ["call_history"]),
    "an answer": ({"csat_answers": [{"score": 1, "scale": 5}]}, ["csat_answers"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_any_field_is_found_by_its_name(loaded: Pipeline, calls: ListedCalls, name: str) -> None:
    change, fields = CHANGES[name]
    calls.edit("k7", **change)
    assert compared(loaded).differences.rows() == [(HOUR, "k7", "late change", fields, True)]


def test_what_is_missing_unknown_or_moved_is_found(loaded: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("late", HOUR + dt.timedelta(minutes=59)))
    calls.remove("k1")
    calls.edit("k2", calldate=f"{HOUR + NEXT}")
    assert loaded.run(HOUR + NEXT, selection=UP_TO_THE_CALLS).success
    calls.edit("k2", calldate=f"{HOUR}")
    found = compared(loaded, hours=2)
    assert [(row[1], row[2]) for row in found.differences.rows()] == [
        ("k1", "unknown"),
        ("k2", "late change"),
        ("late", "missing"),
    ]
    assert set(found.differences["fields"][1]) >= {"partition_hour", "calldate"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
def test_a_key_that_two_hours_list_is_one_call_and_no_difference(
    pipeline: Pipeline, calls: ListedCalls, order: tuple[int, ...]
) -> None:
    calls.add(record("twice", HOUR + dt.timedelta(minutes=10)))
    calls.add(record("twice", HOUR + NEXT + dt.timedelta(minutes=10), agent="x@y", agentid="A2"))
    for which in order:
        assert pipeline.run(HOUR + which * NEXT, selection=UP_TO_THE_CALLS).success
    assert pipeline.ask("SELECT partition_hour, agent FROM cdr.calls") == [(HOUR + NEXT, "x@y")]
    told = [compared(pipeline, hours) for hours in (1, 2)]
    assert [found.differences.height for found in told] == [0, 0]
    assert str(told[1]) == "1 calls in 2 h: 1 equal, 0 late change, 0 missing, 0 unknown"
    # If the later hour no longer lists the call, it belongs to the earlier one.
    calls.remove("twice")
    calls.add(record("twice", HOUR + dt.timedelta(minutes=10)))
    found = compared(pipeline)
    assert found.due["key"].to_list() == ["twice"]
    assert found.held_later == {"twice": HOUR + NEXT}
    assert pipeline.run(HOUR, 2, selection=UP_TO_THE_CALLS).success
    assert compared(pipeline, 2).differences.height == 0


def test_a_record_that_cannot_become_a_call_is_told(
    loaded: Pipeline, calls: ListedCalls, environment: dict[str, str]
) -> None:
    calls.add(record("lost", HOUR, calldate="02/03/2026 05:11:00"), f"{HOUR}")
    found = compared(loaded)
    assert str(found) == "120 calls in 1 h: 120 equal, 0 late change, 0 missing, 0 unknown, 1 rejected"
    done = cdr(loaded.settings.cdr_data_dir, "audit", "2026-03-02 05:00", "2026-03-02 06:00", **environment)
    assert done.returncode == 1
    assert "1 rejected" in done.stdout
    assert (
        "cdr: 1 record could not become a call (calldate cannot be read: 1) in 1 hour, 2026-03-02 05:00" in done.stderr
    )
    assert "02/03/2026" not in done.stderr


def test_a_vanished_call_that_is_listed_again_is_found(loaded: Pipeline, calls: ListedCalls) -> None:
    calls.remove("k3")
    assert loaded.run(HOUR, selection=UP_TO_THE_CALLS).success
    assert compared(loaded).differences.height == 0
    calls.add(record("k3", HOUR + dt.timedelta(minutes=1)))
    assert compared(loaded).differences.rows() == [(HOUR, "k3", "late change", ["vanished_at"], True)]


def test_a_difference_is_excused_while_a_reading_is_still_to_come(loaded: Pipeline, calls: ListedCalls) -> None:
    calls.edit("k1", agent="x@y")
    calls.edit("k2", csat_answers=[{"score": 1, "scale": 5}])

    def due(age: dt.timedelta) -> list[str]:
        return compared(loaded, age=age).due["key"].to_list()

    assert due(dt.timedelta(days=2)) == []
    assert due(dt.timedelta(days=6)) == ["k1"]
    assert due(dt.timedelta(days=40)) == ["k1", "k2"]


def test_an_hour_that_was_never_loaded_is_not_excused(loaded: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("n", HOUR + NEXT))
    found = compared(loaded, hours=2, age=dt.timedelta(hours=2))
    assert found.due.select("key", "finding").rows() == [("n", "missing")]


def test_another_tenants_warehouse_or_none_is_told(loaded: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(loaded.settings), "source", "other.alo-tech.com/api")
    with pytest.raises(WarehouseError, match=r"calls of acme\.alo-tech\.com/api, not of other\.alo-tech\.com/api"):
        compared(loaded)
    loaded.settings.warehouse_path.unlink()
    with pytest.raises(WarehouseError, match=r"there is no .* yet; run `cdr backfill`"):
        compared(loaded)
    assert not loaded.settings.warehouse_path.exists()


def test_the_command_says_what_differs_and_what_to_do(
    loaded: Pipeline, calls: ListedCalls, environment: dict[str, str]
) -> None:
    hours = ("2026-03-02 05:00", "2026-03-02 06:00")
    done = cdr(loaded.settings.cdr_data_dir, "audit", *hours, **environment)
    assert (done.returncode, done.stdout) == (
        0,
        "120 calls in 1 h: 120 equal, 0 late change, 0 missing, 0 unknown\n",
    )
    calls.edit("k1", agent="x@y")
    done = cdr(loaded.settings.cdr_data_dir, "audit", *hours, **environment)
    assert done.returncode == 1
    assert "late change" in done.stdout
    assert done.stderr == (
        "cdr: calls that differ and should be equal by now: 1; `cdr backfill 2026-03-02 2026-03-03` loads them again\n"
    )
    calls.edit("k1", agent="ayşe@example")
    refreshed = cdr(loaded.settings.cdr_data_dir, "refresh", "k1", **environment)
    assert not refreshed.stderr
    assert (refreshed.returncode, refreshed.stdout) == (0, "call k1 of 2026-03-02 05:00: unchanged\n")
    unknown = cdr(loaded.settings.cdr_data_dir, "refresh", "--unique-id", "nobody", **environment)
    assert unknown.returncode == 1
    assert unknown.stderr == "cdr: AloTech knows no call with the uniqueid nobody; nothing was changed\n"


@pytest.fixture
def environment(pipeline: Pipeline) -> dict[str, str]:
    return {
        "ALOTECH_BASE_URL": pipeline.settings.base_url,
        "ALOTECH_TENANT": "acme",
        "ALOTECH_APP_TOKEN": TOKEN,
        "CDR_START": "2026-03-01",
    }
