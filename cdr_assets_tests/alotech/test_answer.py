"""Every shape of answer that the vendor may plausibly send, and what each message means."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdr_assets.alotech import (
    AlotechError,
    MalformedAnswerError,
    ParameterRejectedError,
    RequestRefusedError,
    ServiceUnavailableError,
    TokenRejectedError,
    WrongAddressError,
)
from cdr_assets.alotech.answer import read_answer, refusal
from cdr_assets.alotech.wire import Reply


def reply(body: bytes | Any, status: int = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, 0.0)


def read(body: bytes | Any, **headers: Any) -> Any:
    return read_answer(reply(body, 200, **headers), lambda text: text.replace("SECRET", "[token]"))


def error_of(body: bytes | Any, status: int = 200, **headers: Any) -> AlotechError:
    with pytest.raises(AlotechError) as caught:
        read_answer(reply(body, status, **headers), lambda text: text.replace("SECRET", "[token]"))
    return caught.value


@pytest.mark.parametrize(
    ("document", "count", "cursor"),
    [
        ({"CallList": [{}, {}], "cursor": "abc"}, 2, "abc"),
        ({"CallList": [{}], "cursor": None}, 1, None),
        ({"CallList": [{}], "cursor": ""}, 1, None),
        ({"CallList": [{}], "cursor": "None"}, 1, None),
        ({"CallList": [{}], "cursor": False}, 1, None),
        ({"CallList": [{}], "cursor": 17}, 1, "17"),
        ({"CallList": [{}]}, 1, None),
        ({"CallList": [{}], "success": True}, 1, None),
        ({"CallList": [{}], "success": "true", "message": "OK"}, 1, None),
        ({"CallList": [{}], "message": "OK"}, 1, None),
        ({"CallList": []}, 0, None),
        ({"CallList": None, "cursor": "abc"}, 0, "abc"),
        ({"CallList": None}, 0, None),
        ({"cursor": None}, 0, None),
        ({"success": True}, 0, None),
        ({"success": "True", "message": "no calls"}, 0, None),
        ({"CallList": ["not an object", 3, None]}, 3, None),
        (b'{"CallList": [{"duration": 1e999}]}', 1, None),
        (b'{"CallList": [1e999, {}], "cursor": 1e999}', 2, "inf"),
        (b'{"CallList": [{"CallList": [1], "CallList": [], "cursor": "a", "cursor": "b"}], "cursor": "c"}', 1, "c"),
        (b'{"CallList": [{"note": "\\"CallList\\": [], \\"cursor\\": null"}], "cursor": "c"}', 1, "c"),
    ],
)
def test_envelopes(document: dict[str, Any] | bytes, count: int, cursor: str | None) -> None:
    answer = read(document)
    assert (answer.record_count, answer.cursor) == (count, cursor)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<!DOCTYPE html><html>secret words</html>", "HTML"),
        (b'{"CallList": [{"key": "secr', "cut off"),
        ([{"key": "secret words"}], "an array and not an object"),
        ("secret words", "a string and not an object"),
        ({"CallList": {"key": "secret words"}}, "CallList is an object"),
        ({"CallList": "secret words"}, "CallList is a string"),
        ({"CallList": 3}, "CallList is a number"),
        ({"rows": [{"key": "secret words"}], "cursor": None}, '"cursor, rows"'),
        ({"status": "secret words", "code": 7}, '"code, status"'),
        ({}, '""'),
        ({"CallList": [], "cursor": {"secret words": 1}}, "cursor is an object"),
        ({"CallList": [], "cursor": True}, "cursor is a boolean"),
        (b"[" * 100_000, "cut off"),
        # One JSON reader takes the first of them, another the last.
        (b'{"CallList": [], "CallList": [{"key": "secret words"}], "cursor": null}', "CallList comes twice"),
        (b'{"CallList": [{"key": "secret words"}], "CallList": [], "cursor": null}', "CallList comes twice"),
        (b'{"CallList": [{"key": "a"}, 1], "cursor": null, "CallList": [{"key": "a"}]}', "CallList comes twice"),
        (b'{"CallList": null, "CallList": [{"key": "a"}]}', "CallList comes twice"),
        (b'{"CallList": [{"key": "a"}], "CallList": null}', "CallList comes twice"),
        (b'{"CallList": [{"key": "a"}], "\\u0043allList": []}', "CallList comes twice"),
        (b'{"callList": [{"key": "secret words"}], "CallList": []}', "CallList comes twice"),
        ('{"CallList": [], "CallList": [{"key": "Çağrı"}]}'.encode("windows-1254"), "CallList comes twice"),
        (b'{"CallList": [{"key": "a"}], "cursor": "secret words", "cursor": null}', "cursor comes twice"),
    ],
)
def test_what_is_no_page_is_named_without_its_values(body: Any, words: str) -> None:
    error = error_of(body)
    assert isinstance(error, MalformedAnswerError)
    assert error.retryable
    assert words in str(error)
    assert "secret words" not in str(error)
    assert "\n" not in str(error)


TURKISH = '{"CallList": [{"key": "Çağrı", "queue": "Şikâyet İşleri"}]}'


@pytest.mark.parametrize(
    ("body", "content_type", "charset"),
    [
        (TURKISH.encode(), "application/json", "utf-8"),
        # What can be decoded as UTF-8 is UTF-8, whatever the header says.
        (TURKISH.encode(), "application/json; charset=iso-8859-9", "utf-8"),
        (b"\xef\xbb\xbf" + TURKISH.encode(), "application/json", "utf-8-sig"),
        (TURKISH.encode("iso-8859-9"), "application/json; charset=ISO-8859-9", "iso-8859-9"),
        (TURKISH.encode("utf-16"), "application/json; charset=utf-16", "utf-16"),
        (TURKISH.encode("windows-1254"), "application/json; charset=utf-8", "windows-1254"),
        (TURKISH.encode("windows-1254"), "application/json", "windows-1254"),
        (TURKISH.encode("windows-1254"), "application/json; charset=no-such", "windows-1254"),
        (TURKISH.encode("windows-1254"), "", "windows-1254"),
    ],
)
def test_charset(body: bytes, content_type: str, charset: str) -> None:
    answer = read(body, Content_Type=content_type)
    assert answer.charset == charset
    assert json.loads(body.decode(answer.charset)) == json.loads(TURKISH)
    assert answer.record_count == 1


def test_undecodable_bytes_are_an_error_and_not_replaced() -> None:
    assert "neither UTF-8" in str(error_of(b'{"CallList": ["\x81\x8d"]}'))


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"', '"a\nb"', "1" * 400, '{"a": 1, "a": 2}'])
def test_json_that_strict_parsers_refuse_is_read(value: str) -> None:
    answer = read(f'{{"CallList": [{value}], "cursor": "c"}}'.encode())
    assert (answer.record_count, answer.cursor) == (1, "c")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_any_json_is_an_answer_or_an_alotech_error(document: Any) -> None:
    with pytest.raises(AlotechError):
        read([document])
    for value in ({"CallList": document}, {"CallList": [], "cursor": document, "success": document}):
        with contextlib.suppress(AlotechError):
            assert read(value).record_count == len(value["CallList"] or [])


@given(st.binary())
# Hypothesis also tries bytes that it finds in the code; one of them is a valid empty page.
@example(b'{"CallList":null}')
def test_any_bytes_are_an_answer_or_an_alotech_error(body: bytes) -> None:
    with contextlib.suppress(AlotechError):
        assert read(body).record_count == len(json.loads(body)["CallList"] or [])


@pytest.mark.parametrize("success", [False, "false", "False", " FALSE ", 0, "0", "no"])
def test_every_spelling_of_failure(success: Any) -> None:
    error = error_of({"success": success, "message": "Bir hata", "CallList": []})
    assert isinstance(error, RequestRefusedError)
    assert '"Bir hata"' in str(error)


@pytest.mark.parametrize(
    "document", [{"message": "no"}, {"error": "no"}, {"CallList": None, "error": "no"}, {"success": False}]
)
def test_a_message_without_calls_is_a_refusal(document: dict[str, Any]) -> None:
    assert isinstance(error_of(document), RequestRefusedError)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Invalid app_token", TokenRejectedError),
        ("app_token is not valid", TokenRejectedError),
        ("Missing parameter: app_token", TokenRejectedError),
        ("Token has expired", TokenRejectedError),
        ("Unauthorized", TokenRejectedError),
        ("Access denied", TokenRejectedError),
        ("Geçersiz token", TokenRejectedError),
        ("GEÇERSİZ TOKEN", TokenRejectedError),
        ("Uygulama anahtarı hatalı", TokenRejectedError),
        ("Token bulunamadı", TokenRejectedError),
        ("Bu işlem için yetkiniz yok", TokenRejectedError),
        ("Invalid date format", ParameterRejectedError),
        ("startdate is mandatory", ParameterRejectedError),
        ("finishdate is earlier than startdate", ParameterRejectedError),
        ("time data '2026' does not match format '%Y-%m-%d %H:%M:%S'", ParameterRejectedError),
        ("Unknown function", ParameterRejectedError),
        ("Queue not found", ParameterRejectedError),
        ("cursor is not valid", ParameterRejectedError),
        ("Page token expired", ParameterRejectedError),
        ("The token of the cursor is invalid", ParameterRejectedError),
        ("Cursor is no longer valid", ParameterRejectedError),
        ("The cursor is stale", ParameterRejectedError),
        ("Cursor could not be decoded", ParameterRejectedError),
        ("İmleç süresi doldu", ParameterRejectedError),
        ("Hatalı tarih formatı", ParameterRejectedError),
        ("Kuyruk bulunamadı", ParameterRejectedError),
        ("Geçersiz parametre: sorting", ParameterRejectedError),
        ("Zorunlu parametre eksik: startdate", ParameterRejectedError),
        ("Something went wrong", RequestRefusedError),
        ("Internal error: invalid token state", RequestRefusedError),
        ("Token request limit exceeded, try again later", RequestRefusedError),
        ("Too many requests for this token", RequestRefusedError),
        ("The query could not be updated", RequestRefusedError),
        ("Date service is temporarily unavailable", RequestRefusedError),
        ("Beklenmeyen bir hata oluştu", RequestRefusedError),
        ("Sistem yoğun, daha sonra tekrar deneyin", RequestRefusedError),
        ("Müşteri temsilcisi servisi yanıt vermiyor", RequestRefusedError),
        ("", RequestRefusedError),
    ],
)
def test_which_messages_are_final(message: str, kind: type[AlotechError]) -> None:
    error = refusal(message, str)
    assert type(error) is kind
    assert error.retryable is (kind is RequestRefusedError)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, ParameterRejectedError, False),
        (401, TokenRejectedError, False),
        (403, TokenRejectedError, False),
        (404, WrongAddressError, False),
        (408, ServiceUnavailableError, True),
        (422, ParameterRejectedError, False),
        (429, ServiceUnavailableError, True),
        (500, ServiceUnavailableError, True),
        (502, ServiceUnavailableError, True),
        (503, ServiceUnavailableError, True),
        (301, WrongAddressError, False),
        (204, WrongAddressError, False),
    ],
)
def test_statuses(status: int, kind: type[AlotechError], retryable: bool) -> None:
    error = error_of(b"<html>whatever</html>", status)
    assert type(error) is kind
    assert error.retryable is retryable
    assert str(status) in str(error)


def test_the_message_of_an_error_status_is_told_without_the_token_and_in_one_line() -> None:
    error = error_of({"message": "a\nSECRET b" + "c" * 500}, 503)
    assert '"a [token] bccc' in str(error)
    assert "SECRET" not in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("2.5", 2.5),
        ("86400", 60.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_in_seconds(header: str, seconds: float | None) -> None:
    assert error_of(b"", 429, Retry_After=header).retry_after == seconds


def test_a_pause_beyond_patience_is_told() -> None:
    assert "HTTP 429, which asks for a pause of 86400 s" in str(error_of(b"", 429, Retry_After="86400"))


@pytest.mark.parametrize(("distance", "seconds"), [(timedelta(days=-1), 0.0), (timedelta(days=1), 60.0)])
def test_retry_after_as_a_date(distance: timedelta, seconds: float) -> None:
    header = format_datetime(datetime.now(UTC) + distance, usegmt=True)
    assert error_of(b"", 503, Retry_After=header).retry_after == seconds
    assert error_of(b"", 503, Retry_After=header.replace("GMT", "-0000")).retry_after == seconds


def test_a_broken_byte_in_utf_8_does_not_turn_its_letters_into_others() -> None:
    whole = json.dumps({"CallList": [{"queue": "Müşteri Hizmetleri"}]}, ensure_ascii=False).encode()
    error = error_of(whole.replace(b"Hizmet", b"Hizm\xfft"), Content_Type="application/json")
    assert isinstance(error, MalformedAnswerError)
    assert error.retryable
    assert error.met == "the answer is UTF-8 text with 1 broken bytes in it"
    # The replacement character itself is valid UTF-8.
    assert read('{"CallList": [{"queue": "Satış \ufffd", "n": NaN}]}'.encode()).charset == "utf-8"
