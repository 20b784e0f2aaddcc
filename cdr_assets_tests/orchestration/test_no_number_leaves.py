"""A number in any place of what the vendor sends, in any spelling, is in no published column, report, log or event."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cdr_assets.orchestration.keys import PUBLISHED_KEY
from cdr_assets.publishing.reading import open_published
from cdr_assets.report import write_report
from cdr_assets.sandbox import Fault, ListedCalls, Sandbox
from cdr_assets.sandbox.api import RefusedError
from cdr_assets_tests.conftest import HOUR, TOKEN, Pipeline, pipelines_in, record
from cdr_assets_tests.publishing.test_shown import NO_NUMBERS, digits

# How the ten digits of a national number are written: abc def gh ij.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda n: f"90{n}",
    "international": lambda n: f"+90 {n[:3]} {n[3:6]} {n[6:8]} {n[8:]}",
    "blanks": lambda n: f"0{n[:3]} {n[3:6]} {n[6:8]} {n[8:]}",
    "brackets": lambda n: f"(0{n[:3]}) {n[3:6]}-{n[6:]}",
    "dots": lambda n: f"0{n[:3]}.{n[3:6]}.{n[6:8]}.{n[8:]}",
    "slashes": lambda n: f"0{n[:3]}/{n[3:6]}/{n[6:]}",
    "invisible": lambda n: f"0{n[:3]}\u200b{n[3:6]}\u00a0{n[6:]}",
    "full-width": lambda n: "".join(chr(0xFF10 + int(digit)) for digit in f"0{n}"),
    "Arabic": lambda n: "".join(chr(0x660 + int(digit)) for digit in f"0{n}"),
    "in words": lambda n: f"ara: tel0{n}, lütfen",
    "in an address": lambda n: f"https://a.example/?to=%2B90%20{n[:3]}%20{n[3:]}&n=1",
}

# Where the vendor may send a text. The vendor's opaque ids (key, agentid, queuekey) are left out: they stay.
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    **{
        name: (lambda text, name=name: {name: text})  # type: ignore[misc]
        for name in (
            "callid", "callerid", "queue", "agent", "uniqueid", "recordingurl", "answeredby", "channel",
            # A value that cannot be read is kept in extra.
            "queuedate", "talkdate", "hangupdate", "waitduration", "duration", "hold", "transferred", "sl", "voicemail",
        )
    },
    "called_num": lambda text: {"called_num": text, "inbound": False},
    "queue without a key": lambda text: {"queue": text, "queuekey": None},
    "agent without an id": lambda text: {"agent": text, "agentid": ""},
    "callid of no text": lambda text: {"callid": [text]},
    "unknown field": lambda text: {"note": text},
    "name of an unknown field": lambda text: {text: 1},
    "deep in an unknown field": lambda text: {"crm": {"people": [{text: {"to": text}}]}},
    "event": lambda text: {"call_history": [{"event": text}]},
    "agent of an event": lambda text: {"call_history": [{"event": "ring", "agent": text}]},
    "queue of an event": lambda text: {"call_history": [{"event": "ring", "queue": text}]},
    "date of an event": lambda text: {"call_history": [{"event": "ring", "date": text}]},
    "unknown field of an event": lambda text: {"call_history": [{"event": "ring", text: {"to": text}}]},
    "event that is a text": lambda text: {"call_history": [text]},
    "survey": lambda text: {"csat_answers": [{"survey": text, "score": 5}]},
    "question": lambda text: {"csat_answers": [{"question": text, "score": 5}]},
    "answer": lambda text: {"csat_answers": [{"question": "?", "answer": text}]},
    "score": lambda text: {"csat_answers": [{"question": "?", "score": text, "scale": text}]},
    "answer that is a text": lambda text: {"csat_answers": [text]},
    "tag": lambda text: {"call_tags": [text]},
    "tag with a name": lambda text: {"call_tags": [{"name": text, "by": text}]},
    "a record without a key": lambda text: {"key": "", "note": text},
    "a record without a date": lambda text: {"calldate": text},
}  # fmt: skip


# One number in three spellings; no number of `national` that is sent.
ONE_CALLER = ("905321234567", "0532 123 45 67", "+90 (532) 1234567")


def national(number: int) -> str:
    return f"532{number:07}"


def digits_of(text: str) -> str:
    """All digits of a text as ASCII, without anything else; percent-encoded characters are left out."""
    return digits(re.sub("%2[0-9A-Fa-f]", "", text))


class Refusing(Fault):
    """Answers with words of the server's, which quote what was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def change(self, _: Any) -> None:
        raise RefusedError(self.message)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, dict[str, tuple[str, str, str]], Path]]:
    """The pipeline after a run; the numbers that were sent, with place, spelling and text; and the folder of it all."""
    folder = tmp_path_factory.mktemp("numbers")
    calls = ListedCalls()
    sent: dict[str, tuple[str, str, str]] = {}
    for place, fields in PLACES.items():
        for spelling, spell in SPELLINGS.items():
            # Steps that are no multiple of each other, so that no number begins like the next one.
            number = national(3_141_592 + 7_919 * len(sent))
            text = spell(number)
            sent[number] = place, spelling, text
            calls.add({**record(f"c{len(sent):03}"), "callerid": "anonymous", **fields(text)}, f"{HOUR}")
    for n, text in enumerate(NO_NUMBERS):
        calls.add(
            {**record(f"k{n:03}"), "callerid": "anonymous", "answeredby": text, "note": text, "call_tags": [text]}
        )
    for n, number in enumerate(ONE_CALLER):
        calls.add(record(f"s{n}", callerid=number))
    with pipelines_in(folder) as make, Sandbox(calls, token=TOKEN) as sandbox:
        pipeline = make(sandbox.base_url)
        assert pipeline.run(HOUR).success
        write_report(pipeline.settings, dt.datetime.now(dt.UTC))
        refused = national(1)
        sent[refused] = "the server's words", "plain", refused
        with Sandbox(calls, token=TOKEN, fault=[Refusing(f"caller 0{refused} is not known")]) as refusing:
            failing = make(refusing.base_url)
            assert not failing.run(HOUR).success
            asked = national(2)
            sent[asked] = "the id of a call that was asked for", "plain", asked
            assert not failing.merge("refresh_call", uniqueid=asked).success
        yield pipeline, sent, folder


def test_no_published_value_and_no_report_shows_a_number(
    run: tuple[Pipeline, dict[str, tuple[str, str, str]], Path],
) -> None:
    pipeline, sent, _ = run
    shown = [file.read_text(encoding="utf-8") for file in pipeline.settings.reports_dir.rglob("*.html")]
    assert shown
    with open_published(pipeline.settings.published_path) as connection:
        for table, column in texts_of(connection):
            shown += [value for (value,) in connection.execute(f'SELECT "{column}"::VARCHAR FROM {table}').fetchall()]
    told = [digits_of(text) for text in shown if text]
    leaked = [sent[number] for number in sent if any(number in text for text in told)]
    assert leaked == []


def texts_of(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() WHERE database_name = 'published'"
    ).fetchall()


def test_no_log_and_no_event_shows_a_number(run: tuple[Pipeline, dict[str, tuple[str, str, str]], Path]) -> None:
    """Only the warehouse holds them, and the configuration of a run that asks for one call by it."""
    pipeline, sent, folder = run
    asked = national(2)
    files = [file for file in folder.rglob("*") if file.is_file() and file != pipeline.settings.warehouse_path]
    assert any(file.suffix == ".db" for file in files)
    contents = {file: file.read_bytes() for file in files}
    leaked = [
        (place, spelling, file)
        for number, (place, spelling, text) in sent.items()
        for file, content in contents.items()
        if number != asked and (number.encode() in content or text.encode() in content)
    ]
    assert leaked == []
    with_asked = {file.parent.name for file, content in contents.items() if asked.encode() in content}
    assert with_asked <= {"history"}


def test_what_is_no_number_is_published_as_it_is(run: tuple[Pipeline, dict[str, tuple[str, str, str]], Path]) -> None:
    pipeline, _, _ = run
    expected = sorted(text for text in NO_NUMBERS if text)
    with open_published(pipeline.settings.published_path) as connection:
        for query in (
            "SELECT answeredby FROM cdr.calls WHERE key LIKE 'k%' AND answeredby IS NOT NULL",
            "SELECT answered_by FROM marts.fct_calls WHERE call_key LIKE 'k%' AND answered_by IS NOT NULL",
            "SELECT extra->>'note' FROM cdr.calls WHERE key LIKE 'k%' AND (extra->>'note') <> ''",
            "SELECT tag FROM cdr.call_tags WHERE key LIKE 'k%' AND tag IS NOT NULL",
        ):
            assert sorted(text for (text,) in connection.execute(query).fetchall()) == expected, query


def test_one_caller_in_three_spellings_repeats(
    run: tuple[Pipeline, dict[str, tuple[str, str, str]], Path],
) -> None:
    pipeline, _, _ = run
    assert pipeline.ask_published(
        "SELECT count(*), count(DISTINCT callerid) FROM marts.fct_contacts WHERE first_call_key LIKE 's%'"
    ) == [(3, 1)]
    assert pipeline.ask_published(
        "SELECT count(DISTINCT callerid), count(DISTINCT callerid_e164) FROM cdr.calls WHERE key LIKE 's%'"
    ) == [(1, 1)]


def test_an_error_that_nobody_foresaw_shows_no_number(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    # Made here, because the stack trace of a failure quotes the line that raised it.
    number = national(3)

    def fail(*_: object, **__: object) -> None:
        try:
            raise ValueError(f"could not convert {SPELLINGS['blanks'](number)}")
        except ValueError as error:
            raise RuntimeError(f"and not {number} either") from error

    monkeypatch.setattr("cdr_assets.orchestration.assets.published.publish_copy", fail)
    result = pipeline.run(HOUR, selection=[PUBLISHED_KEY])
    assert not result.success
    told = str([event.event_specific_data for event in result.all_events if event.is_step_failure])
    assert "and not *****03 either" in told
    assert "could not convert *****03" in told
    assert number not in told
    assert SPELLINGS["blanks"](number) not in told


def test_a_model_that_quotes_a_number_in_its_error_shows_it_nowhere(
    pipeline: Pipeline, calls: ListedCalls, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    number = national(4)
    calls.add(record("a", callerid=f"call {number}"))
    folder = tmp_path / "own_marts"
    folder.mkdir()
    pipeline.settings.cdr_own_marts = folder
    (folder / "broken.sql").write_text("select callerid::int as number from {{ ref('fct_calls') }}")
    assert pipeline.run(HOUR).success
    captured = capfd.readouterr()
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file != pipeline.settings.warehouse_path]
    assert [file for file in files if number.encode() in file.read_bytes()] == []
    assert number not in captured.out + captured.err
    assert "*****04" in captured.out + captured.err
