"""The subcommands of `cdr`: their arguments, and the messages they print.

Each calls another package for its work; how text is printed is in `console` and `progress`. Imports are inside the
commands, because importing Dagster and polars takes a second and `cdr query` does not need them.
"""

import datetime as dt
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cdr_assets.cli.console import complain, hide, print_table, readable, say, take_over
from cdr_assets.cli.progress import run_backfill, tell
from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import keep_private
from cdr_assets.domain.settings import Settings, SettingsError, local_hour, read_settings, warnings_about

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Typer's tracebacks show local variables, and one of them could be the token.
    pretty_exceptions_enable=False,
    help="Loads AloTech's call detail records into a DuckDB warehouse.",
)
_DIFFERENCES_SHOWN = 20

# Not a secret: only the sandbox accepts it.
_SANDBOX_TOKEN = "token-of-the-sandbox"


def main() -> None:
    """Runs the command. An OperatorError is printed in one line and ends it with exit code 1."""
    keep_private()
    take_over()
    try:
        app()
    except OperatorError as error:
        complain(f"cdr: {error}")
        sys.exit(1)


def _settings() -> Settings:
    """The settings; prints what they should warn of, once a command. Their secrets are printed nowhere from here on."""
    settings = read_settings()
    hide(settings.secrets)
    for warning in warnings_about(settings):
        complain(f"cdr: warning: {warning}")
    return settings


def _settings_and_files() -> Settings:
    """For commands that open the files; those that start runs leave this to `build_defs`."""
    from cdr_assets.domain.protection import protect
    from cdr_assets.publishing.old_names import take_over_old_names

    settings = _settings()
    protect(settings)
    take_over_old_names(settings)
    return settings


def _local_hour(text: str) -> dt.datetime:
    try:
        return local_hour(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _text(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("it is empty")
    try:
        # In an ASCII terminal Python cannot decode these bytes and keeps them as they are. Decode them as UTF-8.
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise typer.BadParameter("it is not in UTF-8") from None


_Hour = Annotated[dt.datetime, typer.Argument(parser=_local_hour, metavar="DATE", help="In the tenant's local time.")]


@app.command()
def backfill(start: _Hour, finish: _Hour) -> None:
    """Fetch, load and publish the hours from START up to, but not including, FINISH."""
    if finish <= start:
        raise typer.BadParameter("the second date must lie after the first", param_hint="FINISH")
    run_backfill(_settings(), start, finish)


@app.command()
def refresh(
    key: Annotated[str, typer.Argument(parser=_text, metavar="KEY", help="The call's key.")],
    active_call_key: Annotated[
        bool, typer.Option("--active-call-key", help="KEY is the key of the call while it was active.")
    ] = False,
    unique_id: Annotated[
        bool, typer.Option("--unique-id", help="KEY is the ID of a transaction: a CRM action or a contact.")
    ] = False,
) -> None:
    """Fetch one call again, and publish it if it has changed."""
    from cdr_assets.definitions import build_defs
    from cdr_assets.orchestration.runs import refresh

    if active_call_key and unique_id:
        raise typer.BadParameter("give only one of them", param_hint="--active-call-key, --unique-id")
    settings = _settings()
    # Report a missing setting before a run is started that would fail.
    settings.require_tenant()
    name = "activecallkey" if active_call_key else "uniqueid" if unique_id else "callkey"
    for found, hour, is_written in refresh(build_defs(settings), settings, name, key):
        say(f"call {found} of {hour:%Y-%m-%d %H:%M}: {'updated' if is_written else 'unchanged'}")


@app.command()
def audit(start: _Hour, finish: _Hour) -> None:
    """Fetch the hours from START up to, but not including, FINISH again, and compare them with the warehouse.

    Nothing is written.
    """
    from cdr_assets.ingest.audit import audit
    from cdr_assets.ingest.fetching import Alotech
    from cdr_assets.orchestration.runs import ended_hours
    from cdr_assets.transforms import rejected_told
    from cdr_assets.warehouse import Warehouse

    if finish <= start:
        raise typer.BadParameter("the second date must lie after the first", param_hint="FINISH")
    settings = _settings_and_files()
    now = dt.datetime.now(dt.UTC)
    hours = ended_hours(settings, start, finish, now)
    found = audit(hours, Alotech(settings), Warehouse(settings.warehouse_path), now)
    worst_first = found.differences.sort("is_due", "partition_hour", "key", descending=[True, False, False])
    rows = [
        (finding, str(hour), key, ", ".join(fields), "due" if is_due else "still to be read again")
        for hour, key, finding, fields, is_due in worst_first.head(_DIFFERENCES_SHOWN).iter_rows()
    ]
    if rows:
        title = f"{len(rows)} of {worst_first.height} differences"
        print_table(["finding", "hour", "key", "fields", "by now"], rows, title)
    say(str(found))
    problems = [f"{fetch} was not compared: {reason}" for fetch, reason in found.failed.items()]
    if found.due.height:
        days = sorted({hour.date() for hour in (*found.due["partition_hour"], *found.held_later.values())})
        problems.append(
            f"calls that differ and should be equal by now: {found.due.height}; "
            f"`cdr backfill {days[0]} {days[-1] + dt.timedelta(days=1)}` loads them again"
        )
    if found.rejected.height:
        problems.append(rejected_told(found.rejected))
    if found.elsewhere:
        problems.append(
            f"records of other hours than were asked for: {found.elsewhere}; they are loaded only if their own hours "
            "list them: check ALOTECH_TIMEZONE, then report it to AloTech"
        )
    tell(problems)


_Number = Annotated[
    str, typer.Argument(parser=_text, metavar="NUMBER", help="A phone number in any spelling; - reads it from stdin.")
]


def _number(text: str, settings: Settings) -> str:
    from cdr_assets.ingest.person import number_of

    # From stdin, it is neither in the shell's history nor in the list of processes.
    return number_of(sys.stdin.readline() if text == "-" else text, settings)


@app.command()
def forget(
    number: _Number,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Needed where there is no terminal.")] = False,
) -> None:
    """Remove what is known of a caller, everywhere and for good. Calls and their figures stay."""
    from cdr_assets.ingest.forgetting import forget
    from cdr_assets.orchestration.history import forget_in_history
    from cdr_assets.warehouse import Warehouse
    from cdr_assets.warehouse.rewrite import cost_of_rewriting

    settings = _settings_and_files()
    person = _number(number, settings)
    cost = cost_of_rewriting(Warehouse(settings.warehouse_path), settings.published_path)
    told = (
        f"the warehouse and the published copy ({cost.size / 1e6:,.0f} MB) are rewritten: about "
        f"{cost.seconds + 20:,.0f} s, and {cost.size / 1e6:,.0f} MB of free disk ({cost.free / 1e6:,.0f} MB are free); "
        "runs wait meanwhile"
    )
    if not cost.fits:
        raise OperatorError(f"{told}: free some disk first")
    if not yes:
        if not sys.stdin.isatty() or number == "-":
            raise OperatorError(f"{told}; this cannot be undone: add --yes to do it")
        say(f"{told}; this cannot be undone")
        if not typer.confirm("Forget this number?"):
            raise typer.Exit(1)
    erased = forget(settings, person, say)
    files = forget_in_history(settings, person)
    say(f"forgotten: {erased}, and {files} files of Dagster's history")
    if not (any(vars(erased).values()) or files):
        complain("cdr: nothing held this number: compare it with what `cdr export` finds")
    say("later readings will not bring the number back; backups and copies elsewhere still hold it")


@app.command()
def export(
    number: _Number,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write to this file, which only this user can read, not to stdout.")
    ] = None,
) -> None:
    """Write all that is held about a caller, as JSON."""
    from cdr_assets.domain.files import write_whole
    from cdr_assets.ingest.export import export

    settings = _settings_and_files()
    found, calls = export(settings, _number(number, settings))
    if to:
        try:
            write_whole(to, found)
        except OSError as error:
            raise OperatorError(f"cannot write to {to}: {error.strerror}; name a file in another folder") from None
    else:
        sys.stdout.write(found)
    complain(f"{calls} calls of this number")


@app.command()
def rotate_key() -> None:
    """Make a new key of the pseudonyms, and write the published copy with it.

    Pseudonyms in older exports then match none of the copy any more.
    """
    from cdr_assets.ingest.building import rotate_key
    from cdr_assets.warehouse import Warehouse

    settings = _settings_and_files()
    published = rotate_key(Warehouse(settings.warehouse_path), settings, "cdr rotate-key")
    say(f"made a new key; {published.told}; pseudonyms in older exports match none of this copy")
    tell(published.own_failed)


@app.command()
def rebuild() -> None:
    """Build all marts from scratch, after a change of a seed (thresholds, targets) or a model, and publish the copy.

    Other runs wait meanwhile. Nothing is fetched.
    """
    from cdr_assets.ingest.building import rebuild
    from cdr_assets.warehouse import Warehouse

    settings = _settings_and_files()
    published = rebuild(Warehouse(settings.warehouse_path), settings, "cdr rebuild")
    say(f"built all marts from scratch; {published.told}")
    tell(published.own_failed)


_Backup = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]


@app.command()
def backup(folder: _Backup) -> None:
    """Copy all that cannot be made again into a new folder, while runs and readers go on.

    It holds phone numbers in clear, and the key of the pseudonyms.
    """
    from cdr_assets.orchestration.backup import backup

    made = backup(_settings_and_files(), folder, say)
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    say(f"backed up {made}, {size / 1e6:,.1f} MB in {folder}; keep it as closed as the data folder")


@app.command()
def restore(folder: _Backup) -> None:
    """Put a backup into a data folder without a warehouse, and publish it.

    Whoever is in the suppression list stays forgotten.
    """
    from cdr_assets.orchestration.backup import restore

    restored = restore(_settings(), folder, say)
    say(
        f"`cdr forget` again whom you have forgotten since {restored.made_at}, unless the newest suppression list was "
        "in this data folder"
    )


# A query may begin with a comment, which looks like an option.
@app.command(context_settings={"ignore_unknown_options": True})
def query(
    sql: Annotated[
        str,
        typer.Argument(
            parser=_text, metavar="SQL", help='For instance "SELECT * FROM marts.queue_daily"; - reads it from stdin.'
        ),
    ],
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="Let SQL read and write other files, and load extensions.")
    ] = False,
) -> None:
    """Run a query on the published copy and show the result as a table.

    It reaches the copy and nothing else.
    """
    import duckdb

    from cdr_assets.publishing.old_names import take_over_old_names
    from cdr_assets.publishing.reading import open_for_query, open_published

    if sql == "-":
        sql = sys.stdin.read()

    settings = _settings()
    # Not the rest of `_settings_and_files`: an analyst has no rights to it.
    take_over_old_names(settings)
    if not settings.published_path.exists():
        raise OperatorError(f"there is no {settings.published_path} yet; run `cdr backfill` first")
    try:
        path = settings.published_path
        with open_published(path) if allow_files else open_for_query(path, sql) as connection:
            if not connection.extract_statements(sql):
                raise typer.BadParameter("it contains no statement", param_hint="SQL")
            result = connection.execute(sql)
            columns = [column[0] for column in result.description or []]
            rows = result.fetchall()
    except duckdb.PermissionException as error:
        raise OperatorError(f"{' '.join(str(error).split())}; --allow-files allows it") from None
    except duckdb.Error as error:
        raise OperatorError(" ".join(str(error).split())) from None
    except OverflowError as error:
        # Python cannot hold some values of DuckDB, for instance an interval of a million years.
        raise OperatorError(f"a value cannot be shown ({error}); cast its column to VARCHAR") from None
    print_table(columns, rows)


@app.command()
def report(
    start: Annotated[
        dt.datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DATE", help="First day; by default 28 days before --to."),
    ] = None,
    finish: Annotated[
        dt.datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="First day that is not in it any more, as in backfill; by default the data's end.",
        ),
    ] = None,
) -> None:
    """Write one HTML page of plots and tables over the days from --from up to, but not including, --to."""
    from cdr_assets.report import write_report

    if start and finish and finish <= start:
        raise typer.BadParameter("the second date must lie after the first", param_hint="--to")
    settings = _settings_and_files()
    days = [day.date() if day else None for day in (start, finish)]
    page, _ = write_report(settings, dt.datetime.now(dt.UTC), *days)
    say(f"{page}, {page.stat().st_size / 1000:.0f} kB")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="The same facts as JSON, for programs.")] = False,
) -> None:
    """Show the state of the last 30 days' hours, and what is wrong now. Exit code 1 if an hour is late or failed."""
    from cdr_assets.cli.status import print_json, print_status
    from cdr_assets.publishing.old_names import take_over_old_names
    from cdr_assets.status.overview import read_overview

    settings = _settings()
    # Not the rest of `_settings_and_files`: an analyst has no rights to it.
    take_over_old_names(settings)
    overview = read_overview(settings, dt.datetime.now(dt.UTC))
    (print_json if as_json else print_status)(overview)
    if overview.is_wrong:
        raise typer.Exit(1)


@app.command()
def check() -> None:
    """Tell all that is wrong: settings, files, disk, tenant, clock, time zone, warehouse, newest hour and alerts."""
    from cdr_assets.cli.check import Level, look_at

    styles = {Level.OK: "green", Level.WARN: "yellow", Level.WRONG: "red"}
    settings = read_settings()
    hide(settings.secrets)
    is_wrong = False
    for finding in look_at(settings, dt.datetime.now(dt.UTC)):
        say(f"{' ' * (6 - len(finding.level))}{finding.name}: {finding.told}", finding.level, styles[finding.level])
        is_wrong |= finding.level is Level.WRONG
    if is_wrong:
        raise typer.Exit(1)


@app.command()
def alert(
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message to every address that is set, and call the heartbeat.")
    ] = False,
) -> None:
    """Try the addresses of the alerts. Real messages come from the sensors `alerts` and `heartbeat` (`cdr dev`)."""
    from cdr_assets.alerts.message import write_test
    from cdr_assets.alerts.sending import NotSentError, beat, receivers_of

    if not test:
        raise typer.BadParameter("give it: the command does nothing else", param_hint="--test")
    settings = _settings()
    message = write_test(settings, dt.datetime.now(dt.UTC))
    tries = {receiver.name: partial(receiver.send, message) for receiver in receivers_of(settings)}
    if settings.cdr_heartbeat_url:
        tries["CDR_HEARTBEAT_URL"] = partial(beat, settings)
    if not tries:
        raise OperatorError(
            "no address is set: write CDR_ALERT_URL, or CDR_SMTP_URL and CDR_ALERT_TO, or CDR_HEARTBEAT_URL in .env"
        )
    has_failed = False
    for name, send in tries.items():
        try:
            say(f"    {name}: {send()}", "ok", "green")
        except NotSentError as error:
            say(f" {name}: {error}", "wrong", "red")
            has_failed = True
    if has_failed:
        raise typer.Exit(1)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 means any free port.")] = 8000,
    seed: Annotated[int, typer.Option(help="Another seed makes another call centre.")] = 1,
    calls_per_hour: Annotated[int, typer.Option(min=0, help="Mean number of calls in an hour.")] = 120,
    records: Annotated[
        Path | None, typer.Option(help="Serve the vendor's records from this .jsonl or .jsonl.gz file.")
    ] = None,
    latency_ms: Annotated[int, typer.Option(min=0, help="Wait this long before each answer.")] = 0,
    fault: Annotated[list[str] | None, typer.Option(help="Misbehave in this way; names are in docs/faults.md.")] = None,
) -> None:
    """Serve AloTech's API on this machine, with a generated call centre or with records from a file."""
    from cdr_assets.sandbox import GeneratedCentre, RecordsFile, Sandbox, fault_of

    settings = read_settings()
    zone = settings.alotech_timezone
    for name in fault or ():
        try:
            fault_of(name)
        except ValueError as error:
            raise typer.BadParameter(readable(str(error)), param_hint="--fault") from None
    try:
        source = (
            RecordsFile(records)
            if records
            else GeneratedCentre(seed=seed, calls_per_hour=calls_per_hour, time_zone=zone)
        )
    except (OSError, ValueError) as error:
        raise typer.BadParameter(readable(str(error)), param_hint="--records") from None
    try:
        server = Sandbox(
            source, token=_SANDBOX_TOKEN, port=port, latency_ms=latency_ms, fault=fault or None, time_zone=zone
        )
    except OSError as error:
        raise SettingsError(
            f"port {port} cannot be used ({error.strerror}); end the program that uses it, "
            "or choose another with --port (0 means any free port)"
        ) from None
    say(f"AloTech sandbox at {server.base_url} (token: {_SANDBOX_TOKEN}); stop with Ctrl-C")
    with suppress(KeyboardInterrupt):
        server.serve_forever()


@app.command()
def demo() -> None:
    """Backfill the last three days of a generated call centre, and show its queues and agents."""
    from cdr_assets.cli.demo import run_demo

    _settings()
    run_demo()


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    workspace: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Load the code locations of this workspace.yaml instead.",
        ),
    ] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="If no tenant is set, fail, and do not load a made-up call centre.")
    ] = False,
) -> None:
    """Run the Dagster UI, daemon and schedules on 127.0.0.1, until Ctrl-C."""
    from cdr_assets.cli.demo import run_dev

    _settings_and_files()
    run_dev(port, workspace, has_sandbox=not no_sandbox)


if __name__ == "__main__":
    main()
