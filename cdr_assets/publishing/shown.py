"""How the published copy shows each column: SQL by the column's class and CDR_CALLERS.

The rule that finds phone numbers in texts is `domain/masking.py`; how the copy is written is in `copy`.

| class | `pseudonym` and `none` |
|---|---|
| identifier, measure, date | as it is; an identifier made of a name as a reference |
| reference | as it is if it surely holds no number, otherwise a keyed hash, so that tables still join |
| name, free text | with numbers masked, and without web addresses, which may lead to voices |
| number | a pseudonym, or NULL with `none`; the line that an inbound call dialled is the centre's, and stays |
| link | NULL |
| fingerprint | NULL: with it and the other columns of the call, all numbers could be tried |

With `clear`, all columns are as they are. A column without a class is never published.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from cdr_assets.domain import masking
from cdr_assets.domain.schema import OWN, TABLES, Class
from cdr_assets.domain.settings import Callers
from cdr_assets.warehouse.place import quoted

# Table ("marts.fct_calls") to column to its class.
Classes = Mapping[str, Mapping[str, Class]]

#: The classes of the tables in `raw` and `cdr`. Those of the marts are in the dbt project (`marts/build.py`).
CLASSES: Classes = {table.full_name: {column.name: column.holds for column in table.columns} for table in TABLES}

# Classes that hide a whole column, or hash it.
_HIDING = (Class.NUMBER, Class.LINK, Class.REFERENCE, Class.FINGERPRINT)

# In the user's own marts, a column with the name of one of ours is shown like ours: if ours is hidden, and if it is an
# id by which marts are joined.
_BY_NAME = {
    **{column.name: column.holds for table in TABLES for column in table.columns if column.holds in _HIDING},
    **dict.fromkeys(("key", "call_key", "queuekey", "queue_key", "agentid", "agent_id"), Class.IDENTIFIER),
}

# A key that stg_calls makes of a name, because the vendor sent none and the name has many digits.
_MADE_OF_NAME = "(name) "

# Bytes of the longest text that is masked: each of the steps holds a copy of it.
_LONGEST_MASKED = 1_000_000

_BLOCK = 64  # bytes of a block of SHA-256


@dataclass(frozen=True)
class Privacy:
    """How the copy shows people: CDR_CALLERS, the key of the pseudonyms, and the class of each column."""

    callers: Callers
    secret_key: str = field(repr=False)
    classes: Classes

    def class_of(self, schema: str, table: str, column: str, type_of_column: str) -> Class | None:
        """The class of a column; None if nobody stated it. In the user's own marts it follows from name and type."""
        if schema != OWN:
            return self.classes.get(f"{schema}.{table}", {}).get(column)
        if "BLOB" in type_of_column:
            return None  # It may hold whole pages.
        if not _may_hold_text(type_of_column):
            return Class.MEASURE
        return _BY_NAME.get(column, Class.FREE_TEXT) if type_of_column == "VARCHAR" else Class.FREE_TEXT

    @property
    def key_id(self) -> str:
        """The first part of each pseudonym: it tells which key made it."""
        return hashlib.sha256(b"key id" + self.secret_key.encode()).hexdigest()[:4]


def set_key(cursor: duckdb.DuckDBPyConnection, privacy: Privacy) -> None:
    """Sets the variables of `keyed`, which keep the key out of the text of queries. They end with the cursor."""
    key = privacy.secret_key.encode()
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    cursor.execute("SET VARIABLE inner_key = ?", [bytes(byte ^ 0x36 for byte in key)])
    cursor.execute("SET VARIABLE outer_key = ?", [bytes(byte ^ 0x5C for byte in key)])


def _keyed(text: str) -> str:
    """The HMAC-SHA256 of a text (RFC 2104), cut to 64 bits: two of ten million numbers hardly ever share one."""
    inner = f"unhex(sha256(getvariable('inner_key') || encode({text})))"
    return f"left(sha256(getvariable('outer_key') || {inner}), 16)"


def shown(schema: str, columns: Mapping[str, tuple[str, Class]], privacy: Privacy) -> str:
    """The select list of a table. `columns` has the type and class of each column."""
    return ", ".join(
        f'{_shown(schema, name, columns, privacy)} AS "{name}"' if privacy.callers is not Callers.CLEAR else f'"{name}"'
        for name in columns
    )


def _shown(schema: str, name: str, columns: Mapping[str, tuple[str, Class]], privacy: Privacy) -> str:
    type_of_column, holds = columns[name]
    column = f'"{name}"'
    match holds:
        case Class.NUMBER:
            return _number(schema, name, columns, privacy)
        case Class.LINK | Class.FINGERPRINT:
            return "NULL::VARCHAR"
        case Class.NAME | Class.FREE_TEXT if type_of_column == "VARCHAR":
            return masked(column)
        case Class.NAME | Class.FREE_TEXT:
            # Nested columns of the user's own marts become JSON as well.
            json = f"{column}::VARCHAR" if type_of_column == "JSON" else f"to_json({column})::VARCHAR"
            return f"{masked(decoded(json), masking.MASK_IN_JSON)}::JSON"
        case Class.REFERENCE:
            return f"CASE WHEN {_is_without(column)} THEN {column} ELSE {_named(_keyed(column), privacy)} END"
        case Class.IDENTIFIER if schema != "cdr" and type_of_column == "VARCHAR":
            is_made = f"starts_with({column}, {quoted(_MADE_OF_NAME)})"
            return f"CASE WHEN {is_made} THEN {quoted(_MADE_OF_NAME)} || {_keyed(column)} ELSE {column} END"
    return column


def _number(schema: str, name: str, columns: Mapping[str, tuple[str, Class]], privacy: Privacy) -> str:
    # The normal form, so that a caller whose number is written in three ways is one caller.
    number = f'"{name}_e164"' if f"{name}_e164" in columns else f'"{name}"'
    if privacy.callers is Callers.NONE:
        hidden = "NULL::VARCHAR"
    else:
        # Of a short number, such as an extension, two digits would be all.
        last = f"CASE WHEN regexp_matches({number}, '[0-9]{{7}}$') THEN '-' || right({number}, 2) ELSE '' END"
        hidden = _named(f"{_keyed(number)} || {last}", privacy)
    inbound = next((column for column in columns if column in ("inbound", "is_inbound")), None)
    if name.startswith("called") and inbound and schema != OWN:
        return f'CASE WHEN {inbound} THEN "{name}" ELSE {hidden} END'
    return hidden


def _named(hashed: str, privacy: Privacy) -> str:
    return f"{quoted(privacy.key_id + '-')} || {hashed}"


def _is_without(text: str) -> str:
    # Not regexp_matches: it compiles the pattern once more, and DuckDB calls it for each row, this function once for
    # each distinct text of a dictionary (20 times as fast for names).
    return f"regexp_full_match({text}, {quoted(masking.SURELY_WITHOUT)})"


def masked(text: str, mask: str = masking.MASK) -> str:
    """SQL: the text with numbers masked and without web addresses; NULL for a long one that would have to be masked."""
    begin, end, apart = masking.BEGIN, masking.END, masking.APART

    def replaced(text: str, pattern: str, by: str) -> str:
        return f"regexp_replace({text}, {quoted(pattern)}, '{by}', 'g')"

    marked = replaced(f"translate({text}, '{masking.MARKS}', '')", masking.ADDRESS, masking.LINK)
    marked = replaced(marked, masking.AFTER_A_BLANK, f"\\1{apart}\\2{apart}")
    marked = replaced(marked, masking.KEPT_OR_NUMBER, f"\\1{begin}\\2\\3{end}")
    hidden = f"translate(replace(replace({marked}, '{begin}{end}', ''), '{begin}', '{mask}'), '{end}{apart}', '')"
    has_address = f"contains({text}, '://') OR contains({text}, ':\\')"
    return (
        f"CASE WHEN {_is_without(text)} AND NOT ({has_address}) THEN {text} "
        f"WHEN strlen({text}) <= {_LONGEST_MASKED} THEN {hidden} END"
    )


def decoded(json: str) -> str:
    r"""JSON without escapes like \u0035, which would hide a digit. Where DuckDB cannot decode them, ? replaces each."""
    without = f"regexp_replace({json}, '\\\\u[0-9A-Fa-f]{{4}}', '?', 'g')"
    return f"CASE WHEN contains({json}, '\\u') THEN coalesce(TRY(json({json}))::VARCHAR, {without}) ELSE {json} END"


def _may_hold_text(type_of_column: str) -> bool:
    """Whether a DuckDB type is a text or has texts in it: VARCHAR, JSON, VARCHAR[], STRUCT(a VARCHAR), an ENUM."""
    return any(name in type_of_column for name in ("VARCHAR", "JSON", "ENUM"))
