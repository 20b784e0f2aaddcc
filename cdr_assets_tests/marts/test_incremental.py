"""Marts built hour by hour, in any order and after any change, equal a full rebuild."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cdr_assets.marts import build
from cdr_assets.warehouse import clear_stale_hours
from cdr_assets.warehouse.built import note_last_readings
from cdr_assets_tests.marts import centre
from cdr_assets_tests.marts.built import Marts, live_through


def agree(built: dict[str, pl.DataFrame], rebuilt: dict[str, pl.DataFrame]) -> None:
    assert built.keys() == rebuilt.keys()
    for name, frame in rebuilt.items():
        try:
            assert_frame_equal(built[name], frame, check_exact=True)
        except AssertionError as error:
            other = built[name].join(frame, on=frame.columns, how="anti", nulls_equal=True)
            raise AssertionError(f"{name}: {error}; only built hour by hour: {other}") from None


def test_the_copy_that_was_brought_up_to_date_equals_the_warehouse(generated: Marts) -> None:
    differences = generated.published_differences()
    assert {"cdr.calls", "cdr.loads", "marts.fct_contacts", "marts.queue_daily"} < differences.keys()
    assert not any(differences.values()), differences


def test_dirty_calls_in_any_order_give_what_a_full_rebuild_gives(dirty: Marts) -> None:
    built = dirty.tables()
    dirty.build(full_refresh=True)
    agree(built, dirty.tables())


def test_hour_by_hour_equals_a_full_rebuild(generated: Marts) -> None:
    built = generated.tables()
    generated.build(full_refresh=True)
    rebuilt = generated.tables()
    agree(built, rebuilt)
    assert rebuilt["marts.fct_calls"]["is_vanished"].any()


@pytest.mark.parametrize("calls", [80, pytest.param(20, marks=pytest.mark.campaign)])
def test_small_portions_give_what_one_portion_gives(
    calls: int, generated: Marts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a first build, after changes, and in a full rebuild; with 20 calls, most portions are an hour or a day."""
    monkeypatch.setattr(build, "_PORTION_CALLS", calls)
    marts = Marts(tmp_path, centre.ZONE.key)
    live_through(marts, seed=7, pieces=2, changes=2)
    agree(marts.tables(), generated.tables())
    assert not any(marts.published_differences().values())
    marts.build(full_refresh=True)
    agree(marts.tables(), generated.tables())


def test_a_contact_is_kept_if_two_portions_change_its_callid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first portion builds the contacts near it again, from which the second must still know the call's old callid.

    The last call is a leg of the call that leaves for another callid, and then begins a contact of its own, which the
    first portion does not reach.
    """
    monkeypatch.setattr(build, "_PORTION_CALLS", 1)
    marts = Marts(tmp_path, centre.ZONE.key)
    start = dt.datetime(2026, 1, 25, 10, tzinfo=dt.UTC)
    calls = [centre.call(f"k{hour}", start + dt.timedelta(hours=hour), callid="a") for hour in (0, 20, 40)]
    hours = [centre.local_hour(call["calldate"]) for call in calls]
    centre.load(marts.warehouse, calls, hours, centre.START)
    marts.build()
    changed = [calls[0] | {"queue": "Satış"}, calls[1] | {"callid": "other"}]
    centre.load(marts.warehouse, changed, hours[:2], centre.START + dt.timedelta(days=1))
    marts.build()
    built = marts.tables()
    assert built["marts.fct_contacts"]["first_call_key"].sort().to_list() == ["k0", "k20", "k40"]
    marts.build(full_refresh=True)
    agree(built, marts.tables())


def test_a_name_that_is_learned_later_reaches_earlier_rings(tmp_path: Path) -> None:
    """And the days of agents; when it turns out that two agents have the name, they lose them again."""
    marts = Marts(tmp_path, centre.ZONE.key)
    start = dt.datetime(2026, 1, 25, 10, tzinfo=dt.UTC)
    day, second = dt.timedelta(days=1), dt.timedelta(seconds=1)

    def answered(key: str, at: dt.datetime, agent: str) -> centre.Call:
        history = [centre.event("agent_ring", at, "Ayşe Yıl"), centre.event("agent_answer", at + second, "Ayşe Yıl")]
        talk = {"queuedate": at, "talkdate": at + second, "hangupdate": at + 60 * second}
        return centre.call(key, at, answered=True, agentid=agent, call_history=history, **talk)

    rung = [centre.event("agent_ring", start, "Ayşe Yıl"), centre.event("agent_miss", start + 9 * second, "Ayşe Yıl")]
    rung += [centre.event("agent_ring", start + 9 * second, "Berk Ak")]
    lost = centre.call(
        "lost", start, abandon=True, waitduration=20, queuedate=start, hangupdate=start + 20 * second, call_history=rung
    )
    made = [lost, answered("first", start + 2 * day, "A1"), answered("second", start + 4 * day, "A2")]
    found = []
    for call in made:
        centre.load(marts.warehouse, [call], [centre.local_hour(call["calldate"])], start + 9 * day)
        marts.build()
        agents = marts.frame(
            "SELECT agent_id, missed_rings FROM marts.agent_daily WHERE rings > 0 ORDER BY local_date, agent_id"
        )
        names = marts.frame("SELECT agent_id, display_name FROM marts.dim_agents WHERE display_name IS NOT NULL")
        found.append((agents.rows(), names.rows()))
        marts.publish()
        assert not any(marts.published_differences().values())
        built = marts.tables()
        marts.build(full_refresh=True)
        agree(marts.tables(), built)
    assert found == [
        ([("(none)", 1)], []),
        ([("(none)", 0), ("A1", 1), ("A1", 0)], [("A1", "Ayşe Yıl")]),
        ([("(none)", 1), ("(none)", 0), ("(none)", 0)], []),
    ]


def test_a_build_without_stale_hours_changes_nothing(generated: Marts) -> None:
    before = generated.tables()
    generated.build()
    agree(generated.tables(), before)


def test_a_load_that_makes_no_hour_stale_changes_no_mart(tmp_path: Path) -> None:
    """The pipeline builds nothing then, and notes in dim_hours alone when the hours were last read."""
    marts = Marts(tmp_path, centre.ZONE.key)
    start = centre.START.astimezone(dt.UTC)
    hour, day = dt.timedelta(hours=1), dt.timedelta(days=1)
    hours = [centre.local_hour(start + n * hour) for n in range(5)]
    # The call of the first hour has not ended, the third hour has none.
    made = [centre.call(f"k{n}", start + n * hour, hangupdate=start + n * hour + hour / 2) for n in (0, 1, 3, 4)]
    made[0]["hangupdate"] = None
    # What is read when, and whether a build would change a mart other than by the time of that reading.
    readings = [
        ([0, 1, 3], 4 * hour, True),
        ([0, 1, 3], 5 * hour, False),
        ([2], 5 * hour, True),  # no call, but now all hours up to the fourth are loaded
        ([4], 4.5 * hour, True),  # before it ends
        ([4], 4.9 * hour, False),
        ([4], 5 * hour, True),
        ([0, 1], day, True),  # the open call counts as ended
        ([0, 1, 2, 3, 4], 1.5 * day, False),
        ([0, 1, 2, 3, 4], 2 * day + 3 * hour, True),  # the first three hours are final
        ([0, 1], 3 * day, False),
    ]
    stale: set[tuple[dt.datetime, str]] = set()
    for n, (read, after, is_stale) in enumerate(readings):
        centre.load(marts.warehouse, made, [hours[each] for each in read], start + after)
        with marts.warehouse.connect("test") as connection:
            noted = connection.execute("FROM cdr.stale_hours").fetchall()
            assert bool(noted) == is_stale, n
            stale |= set(noted)
            clear_stale_hours(connection)
        if n in (0, 1, 8, 9):
            # The loads in between are built together, because each build takes seconds.
            with marts.warehouse.connect("test") as connection:
                if stale:
                    connection.executemany("INSERT INTO cdr.stale_hours VALUES (?, ?)", [list(row) for row in stale])
                else:
                    note_last_readings(connection)
            before = marts.tables()
            marts.build()
            if not stale:
                agree(marts.tables(), before)
            stale = set()
    final = marts.frame("SELECT is_final FROM marts.dim_hours WHERE is_loaded ORDER BY local_hour")
    assert final["is_final"].to_list() == [True, True, True, False, False]


def test_a_changed_call_reaches_contacts_days_away_and_no_further(tmp_path: Path) -> None:
    """The borders of the windows of fct_contacts: a day for legs, seven for the caller's next contact.

    Each of these has calls of one caller, given by callid and hours from a start; the call at 0 or the last is changed.
    """
    marts = Marts(tmp_path, centre.ZONE.key)
    in_winter, before_summer_time = (dt.datetime(2026, month, 25, 10, tzinfo=dt.UTC) for month in (1, 3))
    lives = [
        # The second contact starts a day after the changed one: its next lies a week after that.
        (in_winter, [("a", 0.2), ("b", 25.8), ("c", 25.8 + 167.5)], {"queue": "Satış"}, 0),
        # The last leg's contact is of the hour of the leg before it, and starts 23 hours later.
        (
            in_winter + dt.timedelta(days=365),
            [("a", 0.2), ("a", 2), ("a", 25), ("a", 48.5), ("b", 48.5 + 167)],
            {"queue": "Satış"},
            0,
        ),
        # The same, and that leg leaves for another callid.
        (in_winter + dt.timedelta(days=2 * 365), [("a", 0), ("a", 20), ("a", 40)], {"callid": "other"}, 2),
        # A clock put forward: the week, seen by the wall, is an hour longer.
        (before_summer_time, [("a", 0.9), ("a", 24.9), ("b", 24.9 + 168)], {"callid": "other"}, 0),
    ]
    first: list[centre.Call] = []
    later: list[centre.Call] = []
    for life, (start, calls, change, changed) in enumerate(lives):
        for number, (callid, hour) in enumerate(calls):
            made = centre.call(
                f"{life}-{number}",
                start + dt.timedelta(hours=hour),
                callid=f"{life}-{callid}",
                callerid=f"90532111223{life}",
                answered=True,
            )
            first.append(made)
            later.append(made | change if number == changed else made)
    hours = {centre.local_hour(made["calldate"]) for made in first}
    for day, calls in enumerate((first, later)):
        centre.load(marts.warehouse, calls, hours, dt.datetime(2030, 1, 1 + day, tzinfo=dt.UTC))
        marts.build()
    built = marts.tables()
    marts.build(full_refresh=True)
    agree(built, marts.tables())


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(30))
def test_any_life_equals_a_full_rebuild(tmp_path: Path, seed: int) -> None:
    marts = Marts(tmp_path, centre.ZONE.key)
    live_through(marts, seed, pieces=3, changes=4)
    differences = marts.published_differences()
    assert not any(differences.values()), differences
    built = marts.tables()
    marts.build(full_refresh=True)
    agree(built, marts.tables())


def test_a_call_without_an_end_is_open_for_a_day(tmp_path: Path) -> None:
    """The hang-up may still come. After a day nobody waits for it, and the hour becomes final without it."""
    marts = Marts(tmp_path, centre.ZONE.key)
    start = centre.START
    made = centre.call("k", start, inbound=True, answered=True, queuedate=start, talkdate=start)
    hour = centre.local_hour(start)
    found = []
    for later in (dt.timedelta(hours=2), dt.timedelta(hours=25), dt.timedelta(days=3)):
        centre.load(marts.warehouse, [made], [hour], start + later)
        marts.build()
        found.append(
            marts.frame(
                """SELECT is_open, open_calls, is_final, ended_at, talk_seconds FROM marts.fct_calls
                   JOIN marts.dim_hours USING (local_hour)"""
            ).row(0)
        )
    assert found == [(True, 1, False, None, None), (False, 0, False, None, None), (False, 0, True, None, None)]


def test_an_hour_is_final_once_the_one_before_it_is_loaded(tmp_path: Path) -> None:
    """A call of the hour before may enter its queue in this one."""
    marts = Marts(tmp_path, centre.ZONE.key)
    starts = [centre.START + n * dt.timedelta(hours=1) for n in range(4)]
    made = [centre.call(f"k{n}", start, hangupdate=start) for n, start in enumerate(starts)]
    hours, late = [centre.local_hour(start) for start in starts], centre.START + dt.timedelta(days=10)

    def final() -> list[bool]:
        rows = marts.frame("SELECT is_final FROM marts.queue_hourly ORDER BY local_hour")
        assert rows.equals(marts.frame("SELECT is_final FROM marts.dim_hours WHERE is_loaded ORDER BY local_hour"))
        return rows["is_final"].to_list()

    centre.load(marts.warehouse, [made[0], made[2], made[3]], [hours[0], hours[2], hours[3]], late)
    marts.build()
    assert final() == [True, False, True]
    centre.load(marts.warehouse, [made[1]], [hours[1]], late)
    marts.build()
    assert final() == [True, True, True, True]
