"""The one home of printing: what a server or a caller wrote is shown as it is, and never obeyed.

Rich reads `[…]` in a text as markup and `:x:` as an emoji, and a terminal obeys the control codes that it is given: a
queue's name could make the rest of a table disappear, or end the command in a traceback.
"""

import io
import logging
import re
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control codes of both tables (C0 and C1), what turns the direction of the text around it, the separators that some
# terminals take for a new line, and halves of characters, which cannot be printed at all.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

# A pipe has no width: nothing may be cut or folded there.
_NO_WIDTH = 1_000_000

console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
errors = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=True)


def take_over() -> None:
    """Has all that this process prints come from here, logged lines too.

    What the terminal's encoding lacks is printed as an escape, where Python would raise an error.
    """
    logging.lastResort = _Complaints(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Complaints(logging.Handler):
    """What is logged and handled by nobody: that the API is asked again, and what it said."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def readable(text: str) -> str:
    r"""The text in one line, each character that a terminal would obey shown as an escape: `\x1b[31m`."""
    encoding = sys.stdout.encoding or "utf-8"
    # What the terminal lacks is replaced here and not only when it is written: a table is laid out for its width.
    return _OBEYED.sub(_escape, text).encode(encoding, "backslashreplace").decode(encoding)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def say(text: str, label: str = "", colour: str = "") -> None:
    """A line on standard output, after a label in a colour."""
    console.print(Text.assemble((label, colour), readable(text)))


def complain(text: str) -> None:
    """A line on standard error."""
    errors.print(readable(text))


def print_table(columns: Sequence[str], rows: Sequence[tuple[object, ...]], title: str | None = None) -> None:
    table = Table(title=Text(readable(title)) if title else None, title_justify="left")
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) or row[index] is None for row in rows)
        table.add_column(_cell(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else _cell(str(value)) for value in row))
    Console(width=None if console.is_terminal else _NO_WIDTH).print(table)


def _cell(text: str) -> Text:
    """A cell has room for lines and tabs."""
    return Text("\n".join(map(readable, text.expandtabs().split("\n"))))
