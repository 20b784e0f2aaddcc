"""One tick: looks for faults, and sends each receiver what is due. It never raises because of what it looks at.

Who calls it, and where the facts come from, is in `orchestration/alerting.py`.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from cdr_assets.alerts.faults import (
    DAYS,
    FailedAttempt,
    Fault,
    Source,
    call_faults,
    hour_faults,
    unseen,
)
from cdr_assets.alerts.memory import Memory
from cdr_assets.alerts.message import write_message
from cdr_assets.alerts.sending import NotSentError, Receiver
from cdr_assets.domain.settings import Settings
from cdr_assets.publishing.reading import open_published, read_newest
from cdr_assets.status.hours import Attempt, HourStatus, State, hours_status

_log = logging.getLogger(__name__)


def look(
    sources: Mapping[Source, Callable[[], Sequence[Fault]]], clean: Callable[[str], str]
) -> tuple[list[Fault], set[Source]]:
    """The faults of all sources, and the sources that could not be read, each of which is a fault as well."""
    faults: list[Fault] = []
    unread = set()
    for source, read in sources.items():
        try:
            faults += read()
        except Exception as error:
            faults.append(unseen(source, error))
            unread.add(source)
    cleaned = [replace(fault, subject=clean(fault.subject), reason=clean(fault.reason)) for fault in faults]
    return cleaned, unread


def faults_of_hours(settings: Settings, attempts: Mapping[dt.datetime, FailedAttempt], now: dt.datetime) -> list[Fault]:
    """The failed and the late hours. `attempts` are those of runs that could not publish that they failed."""
    failed_since = {hour: Attempt(attempt.at, attempt.error) for hour, attempt in attempts.items()}
    if not settings.published_path.exists():
        # Not one hour was published yet: the first runs failed.
        return hour_faults(
            [HourStatus(hour, State.FAILED, None, None, failed_since[hour].error) for hour in sorted(failed_since)]
        )
    with open_published(settings.published_path) as connection:
        return hour_faults(hours_status(connection, settings, now, DAYS, failed_since))


def faults_of_calls(settings: Settings) -> list[Fault]:
    """Whether calls are missing."""
    return call_faults(read_newest(settings.published_path, None))


def tell(memory: Memory, receivers: Sequence[Receiver], settings: Settings, now: dt.datetime) -> list[str]:
    """Sends each receiver one message of all that is due, and notes it. Returns a line for each message.

    What could not be sent stays due at the next tick, and is a warning in the log.
    """
    lines = []
    for receiver in receivers:
        notices = memory.due(receiver.name, now)
        if not notices:
            continue
        count = f"{len(notices)} notice{'' if len(notices) == 1 else 's'}"
        try:
            answer = receiver.send(write_message(notices, settings, now))
        except NotSentError as error:
            lines.append(f"{receiver.name}: {count} not sent, the next tick tries again: {error}")
            _log.warning("%s", lines[-1])
            continue
        memory.told(receiver.name, notices, now)
        lines.append(f"{receiver.name}: {count} sent: {answer}")
    memory.forget([receiver.name for receiver in receivers], now)
    return lines
