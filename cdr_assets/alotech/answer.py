"""Reads one answer of AloTech: its status, its shape, the number of its records and its cursor.

The vendor documents the fields of a call but not the JSON around the calls. So every plausible shape is accepted,
and any other shape is an error that names the keys and types that were found, never values.

What decides whether an answer is a page, a refusal or a failure belongs here. How the answer came over the network
is in `wire.py`, what follows from its cursor in `chain.py`, and the fields of a call are read in `transforms/`.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import pyarrow as pa

from cdr_assets.domain.masking import mask

from .errors import (
    AlotechError,
    MalformedAnswerError,
    ParameterRejectedError,
    RequestRefusedError,
    ServiceUnavailableError,
    TokenRejectedError,
    WrongAddressError,
)
from .wire import Reply

#: The charset of the vendor's Turkish texts where they are not UTF-8.
_LAST_CHARSET = "windows-1254"
_LONGEST_RETRY_AFTER = 60.0
_LONGEST_MESSAGE = 200

# Values of `cursor` that mean "no cursor", in lower case.
_NO_CURSOR = {"", "none", "null", "false"}
_FALSE = {"false", "0", "no"}

# Words to look for in a message, compared without case and accents. They match the beginning of a word, so that
# Turkish endings do not matter.
_PASSING = (
    r"tempora|try again|try later|retry|please wait|busy|overload|too many|rate limit|limit exceed|quota|time(d )?out|"
    r"unavailable|internal|unexpected|unknown error|"
    r"gecici|tekrar dene|daha sonra|mesgul|yogun|kota|limit asi|beklenmeyen|bilinmeyen hata|zaman asimi"
)
_WRONG = (
    r"invalid|not valid|wrong|incorrect|missing|required|mandatory|expired|unknown|not found|reject|denied|bad|"
    r"malformed|unsupported|no longer|stale|decode|must be|must not|must have|does not match|earlier than|out of range|"
    r"not allowed|"
    r"gecersiz|gecerli degil|hatali|yanlis|eksik|zorunlu|gerekli|bulunamadi|bilinmeyen|reddedildi|suresi dol"
)
_TOKEN = r"(app_?)?token|api ?key|credential|anahtar|jeton"
_CURSOR = r"cursor|page ?token|imlec"
_ACCESS = r"unauthori[sz]ed|not authori[sz]ed|authentication fail|access denied|yetkisiz|yetkiniz yok"
_PARAMETER = (
    r"param|argument|start_?date|finish_?date|date|tarih|format|bicim|queue|kuyruk|agent|temsilci|sorting|cursor|"
    r"function|fonksiyon|uniqueid|callkey|activecallkey"
)


class _Page(msgspec.Struct):
    """The members of a normal page; its records stay undecoded.

    Decoding a hundred records only to count them took a fifth of the client's time for a page.
    """

    CallList: list[msgspec.Raw]
    cursor: Any = None
    success: Any = None
    message: Any = None
    error: Any = None


_page = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chain needs to know of a page; `last_calldate` is the `calldate` of its last record, if it is a text."""

    charset: str
    record_count: int
    cursor: str | None
    last_calldate: str | None


def read_answer(reply: Reply, redact: Callable[[str], str]) -> Answer:
    """The page in a reply of `reportsCDRLogs`.

    Raises the kind of AlotechError that fits the status, the message or the shape.
    """
    charset, document = read_object(reply, redact)
    records = document.get("CallList")
    if records is None:
        _check_without_calls(document, redact)
        records = []
    elif not isinstance(records, list):
        raise MalformedAnswerError(f"CallList is {_kind(records)} and not an array")
    last = records[-1] if records else None
    calldate = last.get("calldate") if isinstance(last, dict) else None
    return Answer(
        charset,
        len(records),
        _cursor(document.get("cursor")),
        calldate if isinstance(calldate, str) else None,
    )


def read_object(reply: Reply, redact: Callable[[str], str]) -> tuple[str, dict[str, Any]]:
    """The charset and the JSON object of a reply that reports no failure; raises like `read_answer`."""
    if reply.status != 200:
        raise _status_error(reply, redact)
    charset, document = _parse(reply)
    if not isinstance(document, dict):
        raise MalformedAnswerError(f"the answer is {_kind(document)} and not an object")
    message = _message(document)
    success = document.get("success")
    refused = success is not None and str(success).strip().lower() in _FALSE
    if refused or (success is None and message and not isinstance(document.get("CallList"), list)):
        raise refusal(message, redact)
    return charset, document


def refusal(message: str, redact: Callable[[str], str]) -> AlotechError:
    """The error for `success: false` with this message; its kind says whether a retry can help."""
    said = f"AloTech says {_quoted(message, redact)}" if message else "AloTech refuses without a message"
    plain = _plain(redact(message))
    if not _has(_PASSING, plain):
        # Looked for first: "Page token expired" is about a cursor, not about the application's token.
        if _has(_CURSOR, plain) and _has(_WRONG, plain):
            return ParameterRejectedError(said)
        if _has(_ACCESS, plain) or (_has(_TOKEN, plain) and _has(_WRONG, plain)):
            return TokenRejectedError(said)
        if _has(_PARAMETER, plain) and _has(_WRONG, plain):
            return ParameterRejectedError(said)
    return RequestRefusedError(said)


def _status_error(reply: Reply, redact: Callable[[str], str]) -> AlotechError:
    status = reply.status
    message = ""
    if reply.body.lstrip()[:1] == b"{":
        try:
            message = _message(_parse(reply)[1])
        except MalformedAnswerError:
            message = ""
    met = f"the answer is HTTP {status}" + (f", {_quoted(message, redact)}" if message else "")
    if status in (408, 425, 429) or status >= 500:
        asked = _retry_after(reply.headers.get("Retry-After"))
        if asked is not None and asked > _LONGEST_RETRY_AFTER:
            met += f", which asks for a pause of {asked:.0f} s"
            asked = _LONGEST_RETRY_AFTER
        return ServiceUnavailableError(met, retry_after=asked)
    if status in (401, 403):
        return TokenRejectedError(met)
    if status in (400, 422):
        return ParameterRejectedError(met)
    if 300 <= status < 400:
        target = _quoted(reply.headers.get("Location", "nowhere").split("?")[0], redact)
        return WrongAddressError(
            f"HTTP {status} points to {target}, which is not followed since the token would go with it",
            advice="set ALOTECH_BASE_URL to the final address if it is AloTech's",
        )
    return WrongAddressError(met)


def records_of(body: bytes, charset: str) -> list[Any]:
    """The records in a page's body that `read_answer` has accepted."""
    return json.loads(body.decode(charset), strict=False).get("CallList") or []


def _parse(reply: Reply) -> tuple[str, Any]:
    """The body's charset and its JSON value. Of a normal page's records, only the last one is decoded."""
    body = reply.body
    try:
        page = _page.decode(body)
        # The undecoded records may hold bytes that are not UTF-8.
        body.decode()
        _json(_around(body, page.CallList).decode())
        page.CallList[-1:] = [msgspec.json.decode(last) for last in page.CallList[-1:]]
        return "utf-8", msgspec.structs.asdict(page)
    except (ValueError, RecursionError):
        charset, text = _decoded(body, reply.headers.get("Content-Type", ""))
    try:
        return charset, _json(text)
    except (ValueError, RecursionError):
        raise MalformedAnswerError(f"the answer is {_not_json(text)}") from None


def _around(body: bytes, records: list[msgspec.Raw]) -> bytes:
    """The page without its records: about a hundred bytes, which are read ten times as fast as the whole page."""
    if not records:
        return body
    # The records are views into the body, so their addresses say where they begin and end.
    first, last = pa.py_buffer(records[0]), pa.py_buffer(records[-1])
    start = pa.py_buffer(body).address
    return body[: first.address - start] + body[last.address + last.size - start :]


def _json(text: str) -> Any:
    """The value of a JSON text; accepts NaN, lone surrogates and raw line breaks in strings.

    Raises MalformedAnswerError where the outermost object has a member of a page twice, in upper or lower case. One
    JSON reader takes the first of the two, another the last, so the calls of one of them would be lost.
    """
    members: list[tuple[str, Any]] = []

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal members
        # This is called for each object, and for the outermost one last.
        members = pairs
        return dict(pairs)

    value = json.loads(text, strict=False, object_pairs_hook=noted)
    if isinstance(value, dict):
        names = [name.lower() for name, _ in members]
        if twice := [name for name in _Page.__struct_fields__ if names.count(name.lower()) > 1]:
            raise MalformedAnswerError(f"{twice[0]} comes twice in the answer")
    return value


def _decoded(body: bytes, content_type: str) -> tuple[str, str]:
    _check_not_damaged(body)
    header = Message()
    header["Content-Type"] = content_type
    declared = header.get_content_charset()
    for charset in ("utf-8-sig" if body.startswith(b"\xef\xbb\xbf") else "utf-8", declared, _LAST_CHARSET):
        if charset is None:
            continue
        try:
            return charset, body.decode(charset)
        except (UnicodeError, LookupError):
            continue
    raise MalformedAnswerError(f"the answer is neither UTF-8 nor {declared or 'declared'} nor {_LAST_CHARSET} text")


def _check_not_damaged(body: bytes) -> None:
    """Raises for UTF-8 with a few broken bytes: read in another charset, all its non-ASCII letters would be wrong."""
    broken = len(body.decode("utf-8", "replace")) - len(body.decode("utf-8", "ignore"))
    letters = sum(character > "\x7f" for character in body.decode("utf-8", "ignore"))
    # In a windows-1254 text, two neighbouring bytes are hardly ever a valid UTF-8 letter: more letters than broken
    # bytes mean damaged UTF-8.
    if letters > broken > 0:
        raise MalformedAnswerError(f"the answer is UTF-8 text with {broken} broken bytes in it")


def _not_json(text: str) -> str:
    if not text.strip():
        return "empty"
    if text.lstrip().startswith("<"):
        return f"an HTML page ({len(text)} characters) and not JSON"
    return f"not JSON, or JSON that was cut off ({len(text)} characters)"


def _check_without_calls(document: dict[str, Any], redact: Callable[[str], str]) -> None:
    """Raises unless an answer without CallList plainly has no calls: calls under another name must not be lost."""
    success = str(document.get("success")).strip().lower()
    is_answer = "CallList" in document or "cursor" in document or success in ("true", "1", "yes")
    if not is_answer or any(isinstance(value, list) and value for value in document.values()):
        keys = _quoted(", ".join(sorted(document)), redact)
        raise MalformedAnswerError(f"the answer has no CallList; its keys are {keys}")


def _cursor(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if isinstance(value, str):
        return None if value.strip().lower() in _NO_CURSOR else value
    if isinstance(value, int | float) and value is not True:
        return str(value)
    raise MalformedAnswerError(f"cursor is {_kind(value)} and not a string")


def _message(document: dict[str, Any]) -> str:
    for name in ("message", "error"):
        value = document.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _quoted(message: str, redact: Callable[[str], str]) -> str:
    """Words of the server for an error, without the token and with phone numbers masked.

    Both are done before the text is shortened, so that no part of them stays.
    """
    words = " ".join(mask(redact(message)).split())
    return f'"{words[:_LONGEST_MESSAGE]}{"…" if len(words) > _LONGEST_MESSAGE else ""}"'


def _plain(message: str) -> str:
    folded = unicodedata.normalize("NFKD", message.casefold().replace("\u0131", "i"))
    return "".join(c for c in folded if not unicodedata.combining(c))


def _has(words: str, message: str) -> bool:
    return re.search(rf"(?<![a-z])(?:{words})", message) is not None


def _retry_after(value: str | None) -> float | None:
    """The seconds to wait from a Retry-After header in seconds or as a date; None if it is missing or unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
