"""Writes a message: plain text for people, and the same as JSON fields. What is due is decided in `memory`."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cdr_assets.alerts.faults import FORGOTTEN_AFTER, Kind
from cdr_assets.alerts.memory import Notice, Phase
from cdr_assets.domain.hours import HOUR
from cdr_assets.domain.settings import Settings, SettingsError

HELP = "docs/when-something-is-wrong.md"

#: What to do, in one sentence; the section of the document says more.
CURES = {
    Kind.HOURS_FAILED: "Do what the reason says. The hours are read again once an hour for three days, then every "
    "night for a month.",
    Kind.HOURS_LATE: "Look whether Dagster's schedules are switched on, whether runs wait in its queue, and "
    "whether they fail.",
    Kind.CALLS_MISSING: "Ask the centre whether it was closed, then AloTech.",
    Kind.RUN_FAILED: "Do what the reason says, then launch the run again, or wait for the next one of this job.",
    Kind.CHECK_FAILED: "Look up the check by its name. If it blocks, nothing is published until it passes.",
    Kind.CHECK_WARNS: "Look up the check by its name. The hours are published.",
    Kind.UNSEEN: "Do what the reason says; the log of the sensor `alerts` in Dagster has the same error.",
}

# More of them are only counted: a hundred checks that fail at once have one cause.
_SHOWN = 10


@dataclass(frozen=True)
class Message:
    """A message: the subject of a mail, its text, and the JSON that a webhook gets."""

    subject: str
    text: str
    fields: dict[str, Any]

    @property
    def json(self) -> dict[str, Any]:
        """What a webhook gets. `text` is what Slack, Mattermost and Rocket.Chat show; others may read the rest."""
        return {"text": self.text, **self.fields}


def write_message(notices: Sequence[Notice], settings: Settings, now: dt.datetime) -> Message:
    """One message of all notices."""
    counts = Counter(notice.phase for notice in notices)
    subject = f"cdr_assets {source_of(settings)}: {', '.join(f'{count} {phase}' for phase, count in counts.items())}"
    lines, fields = [subject], []
    for notice in notices[:_SHOWN]:
        told = _fields(notice, settings)
        fields.append(told)
        lines += ["", *_lines(notice.phase, told)]
    rest = Counter(f"{notice.case.fault.kind} ({notice.phase})" for notice in notices[_SHOWN:])
    if rest:
        lines += ["", f"and {rest.total()} more: {', '.join(f'{count} x {what}' for what, count in rest.items())}"]
    return Message(
        subject,
        "\n".join(lines),
        {"source": source_of(settings), "sent_at": _shown(now, settings), "more": rest.total(), "faults": fields},
    )


def write_test(settings: Settings, now: dt.datetime) -> Message:
    """The message of `cdr alert --test`."""
    subject = f"cdr_assets {source_of(settings)}: test"
    text = f"{subject}\n\nSomebody ran `cdr alert --test`. Messages about faults will come to this address."
    return Message(
        subject, text, {"source": source_of(settings), "sent_at": _shown(now, settings), "more": 0, "faults": []}
    )


def source_of(settings: Settings) -> str:
    """The tenant, for those who get messages of several."""
    try:
        return settings.source
    except SettingsError:
        return "(no tenant is set)"


def _fields(notice: Notice, settings: Settings) -> dict[str, Any]:
    case, fault = notice.case, notice.case.fault
    return {
        "phase": notice.phase.value,
        "kind": fault.kind.value,
        "subject": fault.subject,
        "hours": list(spans(fault.hours)),
        "count": len(fault.hours),
        "since": _shown(case.began, settings),
        "until": _shown(case.gone, settings) if case.gone else None,
        "times": case.times,
        "reason": fault.reason,
        "do": CURES[fault.kind],
        "help": f"{HELP}, {fault.kind}",
    }


def _lines(phase: Phase, told: dict[str, Any]) -> Iterator[str]:
    subject = f": {told['subject']}" if told["subject"] else ""
    spanned: list[str] = told["hours"]
    shown = [*spanned[:5], *([f"and {len(spanned) - 5} more spans"] if len(spanned) > 5 else [])]
    hours = f": {told['count']} h, {', '.join(shown)}" if shown else ""
    yield f"{phase.upper()}: {told['kind']}{subject}{hours}"
    if phase in (Phase.OVER, Phase.PAST):
        yield f"  from {told['since']} to {told['until']}; it was: {told['reason']}"
        if told["kind"] in (Kind.CHECK_FAILED, Kind.CHECK_WARNS, Kind.RUN_FAILED):
            yield f"  over means: a later run succeeded, or none has failed for {FORGOTTEN_AFTER.days} days"
        return
    again = f", for the {told['times']}th time" if phase is Phase.AGAIN else ""
    yield f"  noticed {told['since']}{again}"
    yield f"  why: {told['reason']}"
    yield f"  do: {told['do']}"
    yield f'  more: {HELP}, "{told["kind"]}"'


def spans(hours: Sequence[dt.datetime]) -> Iterator[str]:
    """The local hours as spans: `2026-03-02 05:00` and `2026-03-02 07:00 to 09:00`, which begins and ends with them."""
    first = last = None
    for hour in sorted(hours):
        if first is not None and last is not None and hour - last != HOUR:
            yield _span(first, last)
            first = None
        first, last = first or hour, hour
    if first is not None and last is not None:
        yield _span(first, last)


def _span(first: dt.datetime, last: dt.datetime) -> str:
    if first == last:
        return f"{first:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {last:{'%H:%M' if first.date() == last.date() else '%Y-%m-%d %H:%M'}}"


def _shown(moment: dt.datetime, settings: Settings) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}"
