"""Spells the stored phone numbers again after an upgrade or a change of CDR_COUNTRY.

Numbers of new calls are spelled while they are typed (`transforms/phone_numbers.py`).
"""

from collections.abc import Callable

import duckdb

from cdr_assets.domain.schema import CALL_NUMBERS
from cdr_assets.domain.settings import Settings
from cdr_assets.transforms import e164
from cdr_assets.warehouse import rebuild_marts, transaction

# Numbers that are read and written in one portion.
_AT_ONCE = 200_000


def spell_numbers(connection: duckdb.DuckDBPyConnection, settings: Settings, log: Callable[[str], object]) -> None:
    """Fills the columns for one spelling of each number (`callerid_e164`), if they are of another country or of none.

    All marts are then built from scratch, because contacts of one caller are found by that spelling. One transaction.
    """
    country = settings.cdr_country
    if connection.execute("SELECT country FROM raw.warehouse").fetchone() == (country,):
        return
    with transaction(connection):
        numbers = connection.execute(
            " UNION ".join(f"SELECT {name} AS number FROM cdr.calls WHERE {name} IS NOT NULL" for name in CALL_NUMBERS)
        ).pl()["number"]
        if len(numbers):
            log(
                f"reading {len(numbers)} phone numbers as numbers of {country} (CDR_COUNTRY); the marts are built again"
            )
        for portion in numbers.to_frame().iter_slices(_AT_ONCE):
            connection.register("spelled", portion.with_columns(spelling=e164(portion["number"], country)))
            for name in CALL_NUMBERS:
                connection.execute(
                    f"""UPDATE cdr.calls SET {name}_e164 = spelling FROM spelled
                        WHERE {name} = number AND {name}_e164 IS DISTINCT FROM spelling"""
                )
            connection.unregister("spelled")
        if len(numbers):
            rebuild_marts(connection)
        connection.execute("UPDATE raw.warehouse SET country = ?", [country])
