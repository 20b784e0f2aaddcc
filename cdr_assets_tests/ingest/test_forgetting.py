"""After `cdr forget`, no file holds the number, no later reading brings it back, and all counts are as before."""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from cdr_assets.ingest.forgetting import forget
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets.transforms import (
    Entry,
    Forgotten,
    blank_bodies,
    blank_json,
    digits_of,
    e164_of,
    forgotten_of,
    keyed,
    pattern_in_python,
    pattern_of,
)
from cdr_assets.warehouse import Warehouse, WarehouseError, place, transaction
from cdr_assets.warehouse.retention import delete_before
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, record
from cdr_assets_tests.ingest.test_audit import compared
from cdr_assets_tests.marts import centre

NUMBER = "+905329876543"
ARABIC, FULL_WIDTH = (f"0532{''.join(chr(zero + int(digit)) for digit in '9876543')}" for zero in (0x660, 0xFF10))
SPELLINGS = [
    "905329876543",
    "+90 532 987 65 43",
    "0532 987 65 43",
    "0532-987-65-43",
    "(0532) 987.65.43",
    "0090 532 9876543",
    ARABIC,
    "0532\u200b9876543",
    FULL_WIDTH,
    "5329876543",
]
OTHER = "905339998877"
AT = [HOUR + dt.timedelta(minutes=n) for n in range(60)]


def field_calls() -> list[dict[str, Any]]:
    """The number as a caller, as the called, in every field, and in others' calls; in the spellings of the field."""
    theirs = [record(f"theirs {n}", AT[n], callerid=spelling) for n, spelling in enumerate(SPELLINGS)]
    theirs[0] |= {
        "callid": "chain-905329876543@pbx",
        "uniqueid": "crm/0532 987 65 43",
        "recordingurl": "https://x/905329876543.mp3",
        "queue": "Arayan 0532 987 65 43",
        "agent": "temsilci@example",
        "answeredby": "0532 987 65 43 menüsü",
        "channel": "SIP/905329876543-01",
        "mood 0532 987 65 43": {"05329876543": ["tel 0532 987 65 43", 5329876543, 1.50]},
        "holdduration": -5,
        "hold": 0,
        "call_history": [
            {"event": "dial 05329876543", "date": f"{AT[0]}", "to": "0532 987 65 43"},
            "0532 987 65 43",
        ],
        "csat_answers": [
            {"question": "0532 987 65 43?", "answer": "Beni 0532 987 65 43'den arayın", "score": 4, "scale": 5},
            {"question": "Puan?", "answer": 5},
            {"question": "Not?", "answer": "teşekkürler"},
        ],
        "call_tags": ["fatura 0532 987 65 43", {"tag": "ara 05339998877", "by": "0532 987 65 43"}, "iade"],
    }
    return [
        *theirs,
        # A leg of the first call, of another caller.
        record("leg", AT[20], callid="chain-905329876543@pbx", callerid="1001", inbound=False, called_num="1002"),
        record("dialled", AT[21], inbound=False, queued=False, callerid="908501112233", called_num="0532 987 65 43"),
        record(
            "other",
            AT[22],
            callerid=OTHER,
            call_tags=["0532 987 65 43 aradı", "fatura"],
            note={"0532 987 65 43": 1.50},
            call_history=[{"event": "enter", "phone": 5329876543}],
            channel="SIP/(0532) 987 65 43",
        ),
        record("a repeat of theirs", AT[30], callerid="05329876543"),
        record("plain", AT[40], callerid=OTHER),
        record("rejected", AT[41], calldate="2026-13-45 05:00:00", callerid=SPELLINGS[0], call_tags=[SPELLINGS[1]]),
    ]


def test_calls_that_were_read_before_a_caller_was_forgotten_are_not_loaded(tmp_path: Path) -> None:
    """They may be the caller's: a run reads pages, waits while the caller is forgotten, and loads."""
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    calls, hours = centre.make_calls(1)[:5], centre.hours()
    centre.load(warehouse, calls, hours, centre.START)
    with warehouse.connect("cdr forget") as connection:
        connection.execute("INSERT INTO cdr.erasures (began_at) VALUES (now())")
    with pytest.raises(WarehouseError, match="a caller was forgotten while these hours were read"):
        centre.load(warehouse, calls, hours, centre.START + dt.timedelta(days=1))


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("tel:0532%20987%2065%2043", "tel:0*****"),
        ("2026-03-02 0532 987 65 43 2 kez", "2026-03-02 0***** 2 kez"),
        ("9.05329876543E11", "9.0*****E11"),
        ("dün 0532/987 6543, bugün 05329876543", "dün 0*****, bugün 0*****"),
        (ARABIC, "0*****"),
        ("0532 987 65 44", "0532 987 65 44"),
        ("65f1c2d4-0532-4987-a654-3905329876aa", "65f1c2d4-0532-4987-a654-3905329876aa"),
    ],
)
def test_a_number_is_found_in_any_spelling_and_no_other(text: str, without: str) -> None:
    forgotten = forgotten_of(NUMBER, "TR")
    assert forgotten.without(text) == without
    assert forgotten.which_hold([json.dumps(text), json.dumps(text, ensure_ascii=False)]) == [text != without] * 2
    assert (re.search(pattern_in_python(pattern_of(digits_of(NUMBER))), text) is not None) == (text != without)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT regexp_matches(?, ?)", [text, pattern_of(digits_of(NUMBER))]).fetchone()
    assert found == (text != without,)


def test_a_number_of_an_unknown_range_is_found_in_any_spelling() -> None:
    spellings = ["0590 000 00 02", "+90 590 000 00 02", "905900000002"]
    assert {e164_of(spelling, "TR") for spelling in spellings} == {"+905900000002"}
    forgotten = forgotten_of("+905900000002", "TR")
    assert {forgotten.without(f"ara {spelling}!").endswith("*****!") for spelling in spellings} == {True}


def test_a_page_keeps_its_records_and_all_that_is_no_forgotten_callers() -> None:
    forgotten = forgotten_of(NUMBER, "TR")
    others = '{ "key": "x",  "n": 1.50, "big": 12345678901234567890, "half": "\\ud83d", "key": "y" }'
    page = (
        '{"Success": true , "CallList" :[%s, {"key":"t","inbound":"evet","callerid":5329876543}, 7 ,%s ], "Next":"a"}'
    )
    (blank,) = blank_bodies([(page % (others, others)).encode()], forgotten)
    assert blank.decode() == (page % (others, others)).replace("5329876543", "null").replace(": null", ":null")
    assert blank_bodies([blank], forgotten) == [blank]


def test_an_own_line_stays_where_it_is_one() -> None:
    key, digits = b"key", digits_of(NUMBER)
    forgotten = Forgotten(key, [Entry(keyed(key, NUMBER), keyed(key, digits), len(digits), is_line=True)], "TR")
    # Who called, was called, and in which direction; and what is left of it.
    cases = [
        (True, OTHER, NUMBER, (OTHER, NUMBER)),
        (False, NUMBER, OTHER, (NUMBER, OTHER)),
        (True, NUMBER, OTHER, (None, OTHER)),
        (False, OTHER, NUMBER, (None, None)),
    ]
    for inbound, caller, called, left in cases:
        record = {"inbound": inbound, "callerid": caller, "called_num": called}
        blank = json.loads(blank_json(json.dumps(record), forgotten))
        assert (blank["callerid"], blank["called_num"]) == left


@pytest.fixture
def plain_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compressed, so that a number that is left in a file can be found there."""
    monkeypatch.setattr("pyarrow.compress", lambda body, **_: bytes(body))
    monkeypatch.setattr(
        "pyarrow.decompress", lambda body, _, asbytes=False, **__: bytes(body) if asbytes else pa.py_buffer(body)
    )
    monkeypatch.setattr(place, "_SETTINGS", f"{place._SETTINGS}; SET force_compression = 'uncompressed'")
    monkeypatch.setattr("cdr_assets.warehouse.ddl.declaration", lambda name, kind: f'"{name}" {kind}')
    monkeypatch.setattr("cdr_assets.publishing.copy.declaration", lambda name, kind: f'"{name}" {kind}')


@pytest.fixture
def loaded(
    calls: ListedCalls,
    make_pipeline: Callable[..., Pipeline],
    plain_storage: None,  # noqa: ARG001
) -> Iterator[Pipeline]:
    for call in field_calls():
        calls.add(call, f"{HOUR}" if call["key"] == "rejected" else None)
    with Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make_pipeline(sandbox.base_url, cdr_callers="clear")
        assert pipeline.run(HOUR).success
        yield pipeline


def traces(folder: Path) -> dict[str, list[str]]:
    """The files below the folder that hold the number in one of the spellings, byte by byte."""
    cores = [*SPELLINGS, "532 987 65 43", "532-987-65-43"]
    cores += [json.dumps(core)[1:-1] for core in cores]
    found = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            if held := [core for core in cores if core.encode() in content]:
                found[f"{file.relative_to(folder)}"] = held
    return found


def rows_with_it(file: Path) -> list[str]:
    """The tables of a DuckDB file that hold the number in a row; bodies count unpacked."""
    found = []
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{file}' AS looked_at (READ_ONLY)")
        tables = connection.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'looked_at'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"FROM looked_at.{table}").fetchall()
            text = "\n".join(
                value.decode() if isinstance(value, bytes) else str(value) for row in rows for value in row
            )
            if any(spelling in text for spelling in [*SPELLINGS, "532 987 65 43"]):
                found.append(table)
    return found


# The figures of repeated contacts: a forgotten caller's repeats are unknown.
OF_REPEATS = re.compile("repeat|usable_callerid|seconds_to_next")


def figures(pipeline: Pipeline) -> dict[str, list[tuple[Any, ...]]]:
    """Every number, date and flag of the facts and marts, but those of repeats."""
    found = {}
    for (table,) in pipeline.ask(
        """SELECT table_name FROM information_schema.tables
           WHERE table_schema = 'marts' AND NOT starts_with(table_name, 'dim_')"""
    ):
        columns = pipeline.ask(
            f"""SELECT column_name, data_type FROM duckdb_columns()
                WHERE schema_name = 'marts' AND table_name = '{table}'"""
        )
        names = [name for name, kind in columns if kind != "VARCHAR" and not OF_REPEATS.search(name)]
        found[table] = pipeline.ask(f"SELECT {', '.join(names)} FROM marts.{table} ORDER BY ALL")
    return found


def test_no_row_and_no_byte_holds_the_number_and_every_figure_stays(loaded: Pipeline, calls: ListedCalls) -> None:
    settings = loaded.settings
    data = settings.cdr_data_dir
    published = settings.published_path
    # The copy of the run before, whose file is kept under a hidden name.
    assert loaded.run(HOUR, job="lookback").success
    settings.reports_dir.mkdir()
    (settings.reports_dir / "2026-03-02.html").write_text("<td>Arayan 0532&nbsp;987 65 43</td>")
    before = figures(loaded)
    assert {*traces(data)} >= {
        "warehouse/warehouse.duckdb",
        "published/callcentre.duckdb",
        "published/.callcentre.before",
    }
    hashes = loaded.ask("SELECT content_hash, record_count FROM raw.cdr_pages")

    erased = forget(settings, NUMBER, lambda _: None)

    assert (erased.calls, erased.rejected_records, erased.pages) == (14, 1, 1)
    assert traces(data) == {}
    assert rows_with_it(settings.warehouse_path) == rows_with_it(published) == []
    assert not list(settings.reports_dir.iterdir())
    assert figures(loaded) == before
    assert loaded.ask("SELECT content_hash, record_count FROM raw.cdr_pages") == hashes
    assert loaded.ask("SELECT bool_and(octet_length(body) = body_size) FROM raw.cdr_pages") == [(True,)]
    assert loaded.ask("SELECT calls, finished_at IS NOT NULL FROM cdr.erasures") == [(14, True)]
    assert compared(loaded).differences.is_empty()

    # What comes later: a new call, fetched by key, the look-back of that night, and an audit.
    calls.add(record("later", AT[50], callerid="0532 987 65 43", call_tags=["0532 987 65 43"]))
    assert loaded.merge("refresh_call", callkey="later").success
    night = dt.datetime(HOUR.year, HOUR.month, HOUR.day + 1, 2, 30, tzinfo=settings.zone)
    (of_the_night,) = loaded.tick("lookback_nightly", night)
    assert of_the_night.success
    newest = f"""SELECT new, changed, vanished FROM cdr.loads WHERE filters IS NULL AND partition_hour = '{HOUR}'
        ORDER BY fetched_at DESC LIMIT 1"""
    assert loaded.ask(newest) == [(0, 0, 0)]
    assert compared(loaded).differences.is_empty()
    assert traces(data) == {}
    assert rows_with_it(settings.warehouse_path) == rows_with_it(published) == []


def test_what_stays_of_a_call(loaded: Pipeline) -> None:
    repeats = """SELECT count(*), count(*) FILTER (is_answered), count(*) FILTER (is_repeat_candidate),
                     count(*) FILTER (repeated_within_24h) FROM marts.fct_contacts"""
    assert loaded.ask(repeats) == [(14, 13, 13, 11)]
    forget(loaded.settings, NUMBER, lambda _: None)
    columns = """callerid, callerid_e164, called_num, recordingurl, uniqueid IS NOT NULL, queue, agent, answeredby,
                 channel, extra, set_aside, waitduration"""
    aside = '{"holdduration":"below 0"}'
    (call,) = loaded.ask(f"SELECT {columns} FROM cdr.calls WHERE key = 'theirs 0'")
    assert call == (
        None, None, "908501112233", None, True, "Arayan 0*****", "temsilci@example", "0***** menüsü",
        "SIP/90*****-01", '{"holdduration":-5}', call[10], 20,
    )  # fmt: skip
    assert "holdduration" in call[10], aside
    # The leg of another caller has the same callid still.
    assert loaded.ask("SELECT count(DISTINCT callid) FROM cdr.calls WHERE key IN ('theirs 0', 'leg')") == [(1,)]
    assert loaded.ask("SELECT event, date, extra FROM cdr.call_history WHERE key = 'theirs 0' ORDER BY position") == [
        ("dial 0*****", dt.datetime(2026, 3, 2, 5), None),
        ("0*****", None, None),
    ]
    answers = "SELECT question, answer, score FROM cdr.csat_answers WHERE key = 'theirs 0' ORDER BY position"
    assert loaded.ask(answers) == [("0*****?", "4", 4.0), ("Puan?", "5", 5.0), ("Not?", None, None)]
    # In calls of the person the numbers of others are masked too.
    assert loaded.ask("SELECT tag FROM cdr.call_tags WHERE key = 'theirs 0' ORDER BY position") == [
        ("fatura 0*****",), ("ara *****77",), ("iade",),
    ]  # fmt: skip
    # Calls of others keep all but the number.
    assert loaded.ask("SELECT callerid, extra, channel FROM cdr.calls WHERE key = 'other'") == [
        (OTHER, '{"note":{"0*****":1.5}}', "SIP/(0*****"),
    ]
    # Whether the caller called again is unknown: such contacts are on neither side of the rate.
    assert loaded.ask(repeats) == [(14, 13, 2, 1)]


def test_figures_whose_calls_were_deleted_forget_too(loaded: Pipeline) -> None:
    """The names of tags, queues and agents stay for years, after the calls that they came from."""
    with Warehouse(loaded.settings.warehouse_path).connect("test") as connection, transaction(connection):
        delete_before(connection, HOUR + dt.timedelta(days=1), None)
    tags = "SELECT tag, calls FROM marts.tag_daily ORDER BY ALL"
    before = loaded.ask(tags)
    assert ("fatura 0532 987 65 43", 1) in before
    forget(loaded.settings, NUMBER, lambda _: None)
    assert traces(loaded.settings.cdr_data_dir) == {}
    assert sorted(calls for _, calls in loaded.ask(tags)) == sorted(calls for _, calls in before)
    assert ("fatura 0*****", 1) in loaded.ask(tags)
