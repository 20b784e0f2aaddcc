"""A secret is found in every mixture of spellings, wherever it stands; and a body that was JSON stays JSON."""

import json
import random
import string

import pytest

from cdr_assets.domain.redaction import MARK, redactors
from cdr_assets_tests.conftest import TOKEN

SECRETS = {
    "signs": TOKEN,
    "letters": "AbCdEfGhIjKlMnOpQrSt",
    "digits": "90532111223344556677",
    "turkish": "gizli-şifre-çağrı-İ",
    "quotes": "a\"b'c\\d/e&f<g>h i%j",
}


def spellings(character: str) -> list[str]:
    code, data = ord(character), character.encode()
    percent = "".join(f"%{byte:02X}" for byte in data)
    found = [
        percent, percent.lower(), percent.replace("%", "%25"), percent.replace("%", "%2525"),
        f"\\u{code:04x}", f"\\u{code:04X}", f"\\\\u{code:04x}", f"\\\\\\\\u{code:04x}", f"%5cu{code:04x}",
        f"\\U{code:08x}", f"%5CU{code:08X}", f"%255cu{code:04x}", f"%5c\\u{code:04x}", f"\\%5cu{code:04x}",
        f"&#{code};", f"&#x{code:x};", f"&#X{code:04X};", f"&amp;#{code};", f"%26#{code};", f"%26amp;#{code};",
        "".join(f"\\x{byte:02x}" for byte in data), "".join(f"%5cx{byte:02x}" for byte in data),
    ]  # fmt: skip
    if character not in '\\"':
        found += [character] * 10
    if character in "/'\"\\":
        found += ["\\" + character, "\\\\\\" + character]
    return found


@pytest.mark.parametrize("kind", SECRETS)
def test_every_mixture_is_cut_wherever_it_stands(kind: str) -> None:
    secret, dice = SECRETS[kind], random.Random(kind)
    in_text, in_body = redactors([secret])
    for _ in range(300):
        spelled = "".join(dice.choice(spellings(character)) for character in secret)
        before, after = ("".join(dice.choices(string.ascii_letters + string.digits, k=3)) for _ in range(2))
        assert in_text(f"{before}{spelled}{after}") == f"{before}{MARK}{after}", spelled
        assert in_body(f"{before}{spelled}{after}".encode()).decode() == f"{before}{MARK}{after}", spelled


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_without_a_plain_letter_is_cut_from_a_body(kind: str) -> None:
    # Bodies are searched with the slow pattern only if a quick look finds a part of the secret, or an escaped letter.
    _, in_body = redactors([SECRETS[kind]])
    for spelled in map("".join, zip(*map(spellings, SECRETS[kind]), strict=False)):
        assert in_body(f"x{spelled}y".encode()).decode() == f"x{MARK}y", spelled


@pytest.mark.parametrize("kind", SECRETS)
def test_nested_reprs_and_json_are_cut(kind: str) -> None:
    secret = SECRETS[kind]
    in_text, in_body = redactors([secret])
    for spell in (repr, ascii, json.dumps, lambda text: repr(text.encode())):
        told = f"x{secret}y"
        for _ in range(3):
            told = spell(told)
            assert in_text(told).replace("\\", "").strip("b'\"") == f"x{MARK}y"
            assert in_body(told.encode()) == in_text(told).encode()


@pytest.mark.parametrize(
    "body",
    [
        '{"a": SECRET, "b": [1, SECRET]}',
        '{"SECRET": "SECRET"}',
        '{"a": "xSECRETy", "b": 1.50, "c": null, "d": [true, {}]}',
        # A letter or digit of the secret that is part of an escape: n of \\n, and the last digit of \\u00e9.
        r'{"a": "line\SECRET"}',
        r'{"a": "\u00eSECRET"}',
        r'{"a": "a\\SECRET\\", "b": "\"SECRET\""}',
    ],
)
@pytest.mark.parametrize(
    "secret", ["90532111223344556677", "n0123456789abcdef", "9abcdefghijklmnop", "ends with three \\"]
)
def test_a_body_that_was_json_is_json(body: str, secret: str) -> None:
    text = body.replace("SECRET", secret)
    _, in_body = redactors([secret])
    cut = in_body(text.encode())
    assert secret.encode() not in cut
    try:
        json.loads(text)
    except ValueError:
        return
    assert json.loads(cut).keys() <= {"a", "b", "c", "d", MARK}
    assert secret not in str(json.loads(cut))


def test_several_secrets_and_none() -> None:
    in_text, in_body = redactors(["the first secret", "the second secret", ""])
    assert in_text("a the%20first+secret, the second secret") == f"a {MARK}, {MARK}"
    assert in_body(b"the second secret") == MARK.encode()
    in_text, in_body = redactors([])
    assert (in_text("text"), in_body(b"body")) == ("text", b"body")


def test_other_bodies_stay_as_they_are() -> None:
    body = json.dumps({"queue": "Satış", "url": "https://x.example/?u=https%3A%2F%2Fy%20%C5%9F%41", "n": [1.0, None]})
    for text in (body, body.replace("\\u0131", "ı"), body[:-5]):
        assert redactors([TOKEN])[1](text.encode()) == text.encode()
