"""The `cdr` command: its exit codes and its output. Printing alone is tested in `test_console`."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from cdr_assets.domain.project import PROJECT
from cdr_assets.sandbox import ListedCalls, Sandbox
from cdr_assets_tests.cli.command import cdr, cdr_process, outside
from cdr_assets_tests.conftest import HOUR, TOKEN, record

HOURS = ("2026-03-02 05:00", "2026-03-02 07:00")

# Rich reads markup and an emoji here, a terminal reads a colour.
ODD_KEY, ODD_QUEUE = "[/k1]", "[bold]x[/bold] :x: \x1b[31mred"
SHOWN_QUEUE = ODD_QUEUE.replace("\x1b", r"\x1b")


@dataclass(frozen=True)
class Filled:
    """A folder into which a process, `cdr backfill`, has loaded two hours from a sandbox that is still running."""

    folder: Path
    calls: ListedCalls
    environment: dict[str, str]
    backfill: subprocess.CompletedProcess[str]

    def cdr(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return cdr(self.folder, *args, **self.environment | environment)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("filled")
    calls = ListedCalls([record("a"), record(ODD_KEY, HOUR.replace(minute=10), queue=ODD_QUEUE, queuekey="q-markup")])
    with Sandbox(calls, token=TOKEN) as sandbox:
        base = {"ALOTECH_BASE_URL": sandbox.base_url, "ALOTECH_APP_TOKEN": TOKEN, "CDR_START": "2026-03-01"}
        yield Filled(folder, calls, base, cdr_process(folder, "backfill", *HOURS, **base))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"ALOTECH_TIMEZONE": "Europa/Istanbul"},
            "ALOTECH_TIMEZONE: 'Europa/Istanbul' is not a time zone; write a name",
        ),
        ({"CDR_START": "2999-01-01"}, "CDR_START: 2999-01-01 00:00 lies in the future; write a past date"),
        ({"ALOTECH_BASE_URL": "http://example.com/api/"}, "ALOTECH_BASE_URL: plain http would show the token"),
        ({"ALOTECH_BASE_URL": "https://us:pa55word@example.com/api/"}, "ALOTECH_BASE_URL: it must hold no user and no"),
        ({"ALOTECH_APP_TOKEN": ""}, "ALOTECH_APP_TOKEN is not set: write the application token in .env"),
        ({"ALOTECH_BASE_URL": "", "ALOTECH_TENANT": ""}, "ALOTECH_TENANT is not set: write the tenant's name"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_1(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    base = {"ALOTECH_BASE_URL": "http://127.0.0.1:9/api/", "ALOTECH_APP_TOKEN": TOKEN}
    done = cdr(tmp_path, "backfill", "2026-03-02", "2026-03-03", **base | environment)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cdr: {told}")
    assert done.stderr.count("\n") == 1
    assert TOKEN not in done.stdout + done.stderr
    assert "pa55word" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [(("refresh", "k"), 1, "cdr: ALOTECH_TIMEZONE: 'x' is not a time zone"), (("no-such-command",), 2, "Usage: ")],
)
def test_a_process_ends_with_the_code_and_prints_no_traceback(
    tmp_path: Path, args: tuple[str, ...], code: int, told: str
) -> None:
    done = cdr_process(tmp_path, *args, ALOTECH_TIMEZONE="x")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told)
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    base = {"ALOTECH_BASE_URL": "http://127.0.0.1:9/api/", "ALOTECH_APP_TOKEN": TOKEN}
    done = cdr(tmp_path / "file" / "data", "backfill", "2026-03-02", "2026-03-03", **base)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("cdr: CDR_DATA_DIR: cannot write to ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("backfill", "yesterday", "today"),
        ("backfill", "2026-03-02", "2026-03-02"),
        ("sandbox", "--fault", "nonsense"),
        ("sandbox", "--records", "no-such-file.jsonl"),
        ("sandbox", "--records", "."),
        ("sandbox", "--records", "damaged.jsonl.gz"),
        ("sandbox", "--port", "65536"),
        ("query", " "),
        ("refresh", ""),
        ("no-such-command",),
    ],
)
def test_wrong_use_is_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    # Starts with the first bytes of a gzip file.
    (tmp_path / "damaged.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00garbagegarbage")
    done = cdr(tmp_path, *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_backfill_ends_when_the_published_copy_holds_its_hours(filled: Filled) -> None:
    assert filled.backfill.returncode == 0, filled.backfill.stderr
    assert filled.backfill.stdout.startswith("2 hours published in ")
    refused = filled.cdr("backfill", *HOURS, ALOTECH_APP_TOKEN="wrong-token")
    checked = filled.cdr("check")
    assert refused.returncode == 1
    assert "2 hours failed in raw__cdr_pages and keep what they held" in refused.stderr
    assert "set ALOTECH_APP_TOKEN" in refused.stderr
    assert "wrong-token" not in refused.stderr
    assert checked.stdout.count("ok ") == 7
    assert "wrong newest hour: 2026-03-02 06:00 is published, and hours are late" in checked.stdout
    # A comment looks like an option.
    asked = filled.cdr("query", "-- Which calls?\nSELECT key, queue FROM cdr.calls")
    assert asked.returncode == 0
    assert "Satış" in asked.stdout
    wrong = filled.cdr("query", "SELECT * FROM no_such_table")
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    for path in filled.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
            assert b"wrong-token" not in path.read_bytes(), path


def test_everything_that_a_backfill_writes_is_private_whatever_the_umask(filled: Filled) -> None:
    assert filled.cdr("report").returncode == 0
    # The test itself puts dbt/parsed there, as a link.
    found = {path: path.stat() for path in filled.folder.rglob("*") if not path.is_symlink()}
    assert {path.name for path in found if path.is_file()} > {"warehouse.duckdb", "callcentre.duckdb", "secret_key"}
    # What lies beside is SQLite's: event logs and what they keep open.
    assert {path.suffix for path in found} >= {".db", ".html", ".lock", ".yaml"}
    for path, status in found.items():
        allowed = 0o700 if path.is_dir() else 0o400 if path.parent.name == "published" else 0o600
        assert status.st_mode & 0o777 == allowed, path


def test_names_in_the_shape_of_markup_are_shown_as_they_are_by_every_command(filled: Filled) -> None:
    asked = filled.cdr("query", "SELECT '[/x]', key, queue AS \"[/y]\", 'root:x:0', '[vip]' FROM cdr.calls")
    assert [text in asked.stdout for text in (ODD_KEY, SHOWN_QUEUE, "[/y]", " root:x:0 ", " [vip] ")] == 5 * [True]
    refreshed = filled.cdr("refresh", ODD_KEY)
    assert refreshed.stdout == "call [/k1] of 2026-03-02 05:00: unchanged\n"
    filled.calls.edit(ODD_KEY, queue="[/changed]")
    audited = filled.cdr("audit", *HOURS)
    filled.calls.edit(ODD_KEY, queue=ODD_QUEUE)
    assert (audited.returncode, " [/k1] " in audited.stdout) == (1, True)
    reported = filled.cdr("report")
    page = Path(reported.stdout.rsplit(",", 1)[0]).read_text(encoding="utf-8")
    assert "[bold]x[/bold] :x: " in page
    for done in (asked, refreshed, audited, reported):
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_query_without_a_copy_says_what_to_do(tmp_path: Path) -> None:
    done = cdr(tmp_path, "query", "SELECT 1")
    assert done.returncode == 1
    assert "run `cdr backfill` first" in done.stderr


def test_an_ascii_terminal_is_given_escapes(filled: Filled) -> None:
    # In an ASCII terminal Python cannot decode the bytes of the argument either.
    ascii_only = {"PYTHONIOENCODING": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = cdr_process(filled.folder, "query", "SELECT 'Satış' AS kuyruk", **filled.environment | ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert r"| Sat\u0131\u015f |" in done.stdout


@pytest.mark.parametrize(
    ("sql", "code"), [("-- nothing", 2), ("SELECT INTERVAL 100000000 YEAR", 1), ("SELECT '[/x] \x1b[31m' / 0", 1)]
)
def test_a_query_without_a_result_is_told_without_a_traceback(filled: Filled, sql: str, code: int) -> None:
    done = filled.cdr("query", "--", sql)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_query_reads_the_copy_and_nothing_else_unless_it_is_allowed(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "queues.csv").write_text("name\nmine\n", encoding="utf-8")
    for sql in (f"FROM '{tmp_path}/queues.csv'", f"COPY cdr.calls TO '{tmp_path}/new.csv'"):
        refused = filled.cdr("query", sql)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "--allow-files" in refused.stderr
        assert filled.cdr("query", "--allow-files", sql).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"queues.csv", "new.csv"}


def test_a_reader_that_goes_away_is_no_error(filled: Filled) -> None:
    command = f'"{sys.executable}" -m cdr_assets.cli.commands query "SELECT * FROM range(5000)" | head -1'
    environment = {**outside(), "CDR_DATA_DIR": str(filled.folder)}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sandbox_on_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cdr(tmp_path, "sandbox", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"cdr: port {port} cannot be used (Address already in use); ")
    assert done.stderr.count("\n") == 1


class _Refusing(BaseHTTPRequestHandler):
    """Refuses the token with a message that contains markup for rich and control codes for the terminal."""

    def do_GET(self) -> None:
        body = json.dumps({"success": False, "message": "[/x] :x: \x1b[31m\x9b1m app_token is not valid"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_what_a_server_says_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = {"ALOTECH_BASE_URL": f"http://127.0.0.1:{server.server_port}/api/", "ALOTECH_APP_TOKEN": TOKEN}
        done = cdr(tmp_path, "check", **base)
        server.shutdown()
    assert r"[/x] :x: \x1b[31m\x9b1m app_token is not valid" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")


def test_check_tells_each_wrong_setting_once(tmp_path: Path) -> None:
    done = cdr(tmp_path, "check", ALOTECH_TIMEZONE="Europa/Istanbul", CDR_CALLERS="x")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "is not a time zone" in done.stderr
    assert "CDR_CALLERS" in done.stderr
    done = cdr(tmp_path, "check")
    assert done.returncode == 1
    assert [done.stdout.count(f"{name} is not set") for name in ("ALOTECH_TENANT", "ALOTECH_APP_TOKEN")] == [1, 1]
    assert done.stdout.count("not checked, because of the line configuration") == 3


@pytest.mark.parametrize("command", [("check",), ("query", "SELECT 1")])
def test_what_others_can_read_or_guess_is_warned_of_once(tmp_path: Path, command: tuple[str, ...]) -> None:
    dot_env = tmp_path / ".env"
    dot_env.write_text("ALOTECH_BASE_URL=http://127.0.0.1:9/api/\nALOTECH_APP_TOKEN=quite-short\n")

    def told() -> str:
        environment = {**outside(), "PYTHONPATH": str(PROJECT)}
        args = [sys.executable, "-m", "cdr_assets.cli.commands", *command]
        done = subprocess.run(args, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert "quite-short" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    readable, short = f"other users of this machine can read {dot_env}", "ALOTECH_APP_TOKEN has fewer than"
    for mode, count in ((0o644, 1), (0o640, 1), (0o600, 0)):
        dot_env.chmod(mode)
        assert [told().count(text) for text in (readable, short)] == [count, 1]
    dot_env.write_text(f"ALOTECH_BASE_URL=http://127.0.0.1:9/api/\nALOTECH_APP_TOKEN={TOKEN}\n")
    silent = told()
    assert readable not in silent
    assert short not in silent


def test_no_message_shows_a_secret(filled: Filled) -> None:
    key = "a key of the pseudonyms in 42 characters."
    for secret in (TOKEN, key, quote(TOKEN), TOKEN.encode().hex("%").join(("%", ""))):
        done = filled.cdr("query", f"SELECT '{secret}'::INTEGER", CDR_SECRET_KEY=key)
        assert (done.returncode, secret in done.stderr, "[token]" in done.stderr) == (1, False, True)


def test_check_compares_the_tenant_with_the_warehouses(filled: Filled) -> None:
    done = filled.cdr("check", ALOTECH_TENANT="acme")
    assert done.returncode == 1
    assert "not of acme.alo-tech.com/api; set CDR_DATA_DIR to another folder" in done.stdout
    assert done.stdout.count("wrong warehouse: ") == 1


def test_a_command_below_the_folder_of_dot_env_and_a_folder_of_odd_letters(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "odd" {{ x }} $HOME #1'
    (folder / "below").mkdir(parents=True)
    (folder / ".env").write_bytes(b"\xef\xbb\xbfALOTECH_TENANT=acme\r\nALOTECH_APP_TOKEN=t\r\nCDR_DATA_DIR=mine\r\n")
    environment = {name: value for name, value in outside().items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", "from cdr_assets.orchestration.home import *; from cdr_assets.domain.settings import *\n"
         "with open_instance(read_settings()) as instance: print(instance.root_directory, instance.get_runs_count())"],
        cwd=folder / "below", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"{folder}/mine/dagster 0\n", done.stderr
