"""A real month of calls. Its file is not part of the project; tests that need it are skipped without it."""

import os
from pathlib import Path

import duckdb
import pytest

from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.schema import CALL_DATES

_FIELDS = {
    "key": "VARCHAR", "callid": "VARCHAR", "queued": "BOOLEAN", "answered": "BOOLEAN", "assigned": "BOOLEAN",
    "abandon": "BOOLEAN", "queuedate": "TIMESTAMP", "calldate": "TIMESTAMP", "talkdate": "TIMESTAMP",
    "hangupdate": "TIMESTAMP", "waitduration": "INTEGER", "duration": "INTEGER", "sl": "BOOLEAN",
    "shortcall": "BOOLEAN", "callerid": "VARCHAR", "called_num": "VARCHAR", "queue": "VARCHAR", "inbound": "BOOLEAN",
    "agent": "VARCHAR", "agentid": "VARCHAR", "hold": "INTEGER", "holdduration": "INTEGER", "queuekey": "VARCHAR",
    "voicemail": "BOOLEAN", "localrelease": "BOOLEAN", "transferred": "INTEGER", "channel": "VARCHAR",
    "call_history": "JSON[]", "csat_answers": "JSON[]", "call_tags": "JSON[]",
}  # fmt: skip


def path() -> Path:
    """The path of the file. Skips the test if there is none."""
    named = os.environ.get("CDR_REAL_CALLS")
    found = Path(named) if named else PROJECT.parent / "shared" / "data" / "anonymous-bank-1999-01.jsonl.gz"
    if not found.exists():
        pytest.skip(f"no real calls: {found} does not exist; set CDR_REAL_CALLS to their file")
    return found


def load(connection: duckdb.DuckDBPyConnection) -> None:
    """Writes the month's calls, histories, tags and loads straight into `cdr`, as if fetched long after their hours."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _FIELDS.items())
    instants = ", ".join(f"timezone('Asia/Jerusalem', {name}) AS {name}_utc" for name in CALL_DATES)
    connection.execute(
        f"""
        CREATE TEMP TABLE records AS
        SELECT *, date_trunc('hour', calldate) AS partition_hour
        FROM read_json('{path()}', format = 'newline_delimited', columns = {{{columns}}});

        INSERT INTO cdr.calls BY NAME
        SELECT * EXCLUDE (call_history, csat_answers, call_tags), {instants},
            len(call_history)::INTEGER AS call_history_count,
            len(csat_answers)::INTEGER AS csat_answers_count,
            len(call_tags)::INTEGER AS call_tags_count,
            callerid AS callerid_e164, called_num AS called_num_e164, md5(key) AS content_hash
        FROM records ORDER BY calldate, key;

        INSERT INTO cdr.call_history BY NAME
        SELECT key, partition_hour, position, item->>'event' AS event, (item->>'date')::TIMESTAMP AS date,
            item->>'agent' AS agent, item->>'queue' AS queue
        FROM (
            SELECT *, unnest(call_history) AS item, generate_subscripts(call_history, 1) - 1 AS position FROM records
        );

        INSERT INTO cdr.call_tags BY NAME
        SELECT key, partition_hour, position, item->>'$' AS tag
        FROM (SELECT *, unnest(call_tags) AS item, generate_subscripts(call_tags, 1) - 1 AS position FROM records);

        INSERT INTO cdr.loads BY NAME
        SELECT hour AS partition_hour, timezone('Asia/Jerusalem', hour) + INTERVAL 10 DAY AS fetched_at
        FROM generate_series(TIMESTAMP '1999-01-01', TIMESTAMP '1999-01-31 23:00', INTERVAL 1 HOUR) AS hours (hour);

        INSERT INTO cdr.stale_hours
        SELECT hour, reason FROM range(TIMESTAMP '1999-01-01', TIMESTAMP '1999-02-02', INTERVAL 1 HOUR) AS hours (hour),
            (VALUES ('partition'), ('touched')) AS reasons (reason)
        """
    )
