"""Prints text and tables. All printing goes through here, because calls contain text that others wrote.

Rich reads `[…]` as markup and `:x:` as an emoji, and a terminal executes control codes. Unescaped, a queue's name could
hide the rest of a table or end the command with a traceback. Which messages are printed is in `commands`, `progress`
and `demo`.
"""

import io
import logging
import re
import sys
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdr_assets.domain.redaction import redactors

# Control codes (C0 and C1), characters that change the direction of text, separators that some terminals show as a new
# line, and surrogates (halves of characters), which cannot be printed at all.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

# A pipe has no width, so never cut or wrap a line there.
_NO_WIDTH = 1_000_000

console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
errors = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=True)


_cut_secrets: Callable[[str], str] = str


def hide(secrets: Iterable[str]) -> None:
    """Cuts these secrets out of all messages from now on, whatever library's error or log quotes them.

    Not out of tables: they show the copy, and a short secret may be part of its texts.
    """
    global _cut_secrets
    _cut_secrets, _ = redactors(secrets)


def take_over() -> None:
    """Sends log messages through this module, and makes unprintable characters escapes.

    Python would raise an error for a character that the terminal's encoding does not have.
    """
    logging.lastResort = _Complaints(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Complaints(logging.Handler):
    """Prints log messages that no other handler takes, for instance that a request is tried again."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def readable(text: str) -> str:
    r"""The text in one line, with an escape for each character that could control the terminal: `\x1b[31m`."""
    encoding = sys.stdout.encoding or "utf-8"
    # `take_over` escapes on output too. That is too late for a table: its layout needs the final width of its texts.
    return _OBEYED.sub(_escape, text).encode(encoding, "backslashreplace").decode(encoding)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def say(text: str, label: str = "", colour: str = "") -> None:
    """Prints a line on standard output, after a label in a colour."""
    console.print(Text.assemble((label, colour), readable(_cut_secrets(text))))


def complain(text: str) -> None:
    """Prints a line on standard error."""
    errors.print(readable(_cut_secrets(text)))


def print_table(columns: Sequence[str], rows: Sequence[tuple[object, ...]], title: str | None = None) -> None:
    table = Table(title=Text(readable(title)) if title else None, title_justify="left")
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) or row[index] is None for row in rows)
        table.add_column(_cell(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else _cell(str(value)) for value in row))
    Console(width=None if console.is_terminal else _NO_WIDTH).print(table)


def _cell(text: str) -> Text:
    """The text of a cell, which may have several lines and tabs."""
    return Text("\n".join(map(readable, text.expandtabs().split("\n"))))
