"""The rule that finds phone numbers in texts, and masks them in messages.

A phone number in a text is a run of seven or more digits, in any script, also with blanks, dots, dashes, slashes,
brackets or plus signs between the digits. First are set apart: dates, times, UUIDs, hashes and decimals. All digits of
a number but the last two are masked.

The patterns are regular expressions for RE2 (DuckDB) and for Rust (polars), which both lack lookaround. `mask` is for
single messages; columns are masked by DuckDB, in `publishing/shown.py`.
"""

# Digits of all scripts, superior, inferior and circled ones. Each class is compiled many times over, in every column:
# with \p{N} and \p{M} in place of these lists, the patterns take 26 ms a column and not 10.
_DIGITS = r"\p{Nd}\x{b2}\x{b3}\x{b9}\x{2070}-\x{2089}\x{2460}-\x{249b}\x{24ea}"
DIGIT = f"[{_DIGITS}]"

# Characters that may stand between the digits of one number: blanks, line breaks, dots, dashes, slashes, brackets and
# plus signs, also full-width; invisible ones, such as a zero-width space; and what stands on or around a digit, as in a
# key cap.
_BETWEEN = (
    r" \t\n\r\f\x{b}\x{85}\x{a0}\x{ad}\x{1680}\x{2000}-\x{2015}\x{2028}-\x{202f}\x{205f}-\x{2064}\x{3000}\x{feff}"
    r"\-\x{2212}\x{2e3a}\x{2e3b}\x{301c}\x{fe58}\x{fe63}\x{ff0d}+\x{ff0b}./_\x{b7}\x{2022}\x{ff0e}\x{ff0f}"
    r"()\[\]{}\x{ff08}\x{ff09}\x{ff3b}\x{ff3d}\x{300}-\x{36f}\x{20e3}\x{fe0e}\x{fe0f}"
)
_ESCAPE = r"\\+u[0-9A-Fa-f]{4}"
# %20 and the like stand for them in web addresses; \n, \/ and \u00a0 in JSON.
BETWEEN = rf"(?:[{_BETWEEN}]|%2[0-9A-Fa-f]|\\+[nrtf/]|{_ESCAPE})"

# Neither a digit nor anything that may stand between two.
_OTHER = rf"[^{_DIGITS}{_BETWEEN}%\\]"
_NO_DIGIT = rf"[^{_DIGITS}%\\]"

_YEAR, _MONTH, _DAY = "(?:19|20)[0-9]{2}", "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"
_HOUR, _MINUTE = "(?:[01]?[0-9]|2[0-3])", "[0-5][0-9]"
_OFFSET_HOUR, _OFFSET_MINUTE = "(?:0[0-9]|1[0-4])", "(?:00|15|30|45)"
# A zone without a colon only after seconds: 10:30-0532 is followed by a number.
_TIME = (
    f"(?:[0-9]{{1,3}}:{_MINUTE}:{_MINUTE}(?:[.,][0-9]{{1,9}})?(?:Z|[+-]{_OFFSET_HOUR}:?{_OFFSET_MINUTE})?"
    f"|[0-9]{{1,3}}:{_MINUTE}(?:Z|[+-]{_OFFSET_HOUR}:{_OFFSET_MINUTE})?)"
)
_DATE = (
    f"(?:{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}|{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}|{_MONTH}/{_DAY}/{_YEAR}"
    f"|{_DAY}[./]{_MONTH}[./][0-9]{{2}} {_HOUR}:{_MINUTE})"
)
_HEX = "[0-9A-Fa-f]"
# From the beginning of a word: if each of its letters could begin one, RE2 would take fifty times as long.
_UUID = rf"(?:\b|_)(?:{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}|{_HEX}{{32}}|{_HEX}{{40}}|{_HEX}{{64}})"
_RANGE = f"(?:{_HOUR}[.]{_MINUTE}-{_HOUR}[.]{_MINUTE}|{_YEAR}[-/]{_YEAR})"
_DATE_AND_TIME = f"{_DATE}(?:[T ]{_TIME})?"
_NO_NUMBER = rf"(?:{_DATE_AND_TIME}|{_TIME}|{_UUID}|{_RANGE})\b"

# Amounts and measured values of seven digits or more. A fraction of 4, 7, 10 or 11 digits after a few digits may be a
# phone number: 555.1234, 532.1234567, 9.05321234567E11 or 0.5321234567. Leading zeros are a number's.
_GROUPED = r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]{1,2}"
_DECIMAL = (
    r"(?:(?:0|[1-9][0-9]{0,5})\.[0-9]{1,3}|[1-9][0-9]{6}\.[0-9]{2}"
    rf"|{_GROUPED}"
    r"|(?:0|[1-9][0-9]?)\.(?:[0-9]{4,9}|[0-9]{12,})(?:[eE]-[0-9]+)?"
    r"|[1-9][0-9]{2}\.(?:[0-9]{5,6}|[0-9]{8,9}|[0-9]{12,}))"
)
# Without lookahead, the character after a decimal is matched too: it shows that no more digits follow. A comma may also
# separate two values, so that a bracket or another comma may not follow its fraction.
_DECIMAL_AND_NEXT = (
    rf"(?:{_DECIMAL}(?:{BETWEEN}+{_OTHER}|[^{_DIGITS}{_BETWEEN}%\\eE]|[eE%](?:[^{_DIGITS}+-]|$)|{BETWEEN}*$)"
    rf"|(?:0|[1-9][0-9]{{0,6}}),[0-9]{{2}}(?: *[^{_DIGITS}{_BETWEEN}%\\,;:]| *$))"
)

#: Group 1 is a text to keep; groups 2 and 3 are the last two digits of a number.
KEPT_OR_NUMBER = (
    rf"({_NO_NUMBER}|{_DECIMAL_AND_NEXT}|{_ESCAPE})"
    rf"|{DIGIT}(?:{BETWEEN}*{DIGIT}){{4,}}{BETWEEN}*({DIGIT}){BETWEEN}*({DIGIT})"
)

#: A date, an ID or an amount after a blank, a bracket or a letter. `APART` around it keeps it out of the number before.
AFTER_A_BLANK = rf"(^|[^{_DIGITS}./+_-])((?:{_DATE_AND_TIME}|{_UUID}|{_GROUPED})\b)"

# The same in Rust, whose \b knows the letters of all scripts; RE2's knows those of ASCII.
_IN_RUST, _AFTER_A_BLANK_IN_RUST = (pattern.replace(r"\b", r"(?-u:\b)") for pattern in (KEPT_OR_NUMBER, AFTER_A_BLANK))

#: Matches most texts without a number (and none with one), ten times faster than a search for numbers.
SURELY_WITHOUT = (
    rf"^{_NO_DIGIT}*"
    rf"(?:(?:(?:{_NO_NUMBER}|{DIGIT}(?:[{_BETWEEN}]*{DIGIT}){{0,5}})[{_BETWEEN}]*(?:{_OTHER}|$)|{_DECIMAL_AND_NEXT})"
    rf"{_NO_DIGIT}*)*$"
)

#: Finds web addresses, and LINK replaces them: where a voice can be heard is not published.
ADDRESS, LINK = r"(?i)https?:\\*/\\*/[^\s\"'<>\\]*(?:\\+/[^\s\"'<>\\]*)*", "(link)"

# Private characters that mark the place of a number while a text is masked.
BEGIN, END, APART = "\ue000", "\ue001", "\ue002"
MARKS = BEGIN + END + APART

#: In place of the hidden digits. In JSON, a number must stay a number.
MASK, MASK_IN_JSON = "*****", "99999"


def mask(text: str) -> str:
    """The text with every phone number masked but for its last two digits: `0532 123 45 67` becomes `*****67`."""
    import polars as pl  # not at the top, because the command line starts faster without it

    for mark in MARKS:
        text = text.replace(mark, "")
    marked = (
        pl.lit(text)
        .str.replace_all(_AFTER_A_BLANK_IN_RUST, f"${{1}}{APART}${{2}}{APART}")
        .str.replace_all(_IN_RUST, f"${{1}}{BEGIN}${{2}}${{3}}{END}")
        .str.replace_all(BEGIN + END, "", literal=True)
        .str.replace_all(BEGIN, MASK, literal=True)
        .str.replace_all(f"[{END}{APART}]", "")
    )
    masked: str = pl.select(marked).item()
    return masked
