"""What is built hour by hour, in any order and after any change, is what a full rebuild gives."""

import polars as pl
from polars.testing import assert_frame_equal

from cdr_assets_tests.marts.conftest import Marts


def agree(built: dict[str, pl.DataFrame], rebuilt: dict[str, pl.DataFrame]) -> None:
    assert built.keys() == rebuilt.keys()
    for name, frame in rebuilt.items():
        try:
            assert_frame_equal(built[name], frame, check_exact=True)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n{built[name].join(frame, on=frame.columns, how='anti', nulls_equal=True)}") from None


def test_hour_by_hour_equals_a_full_rebuild(generated: Marts) -> None:
    built = generated.tables()
    generated.build(full_refresh=True)
    rebuilt = generated.tables()
    agree(built, rebuilt)
    assert rebuilt["marts.fct_calls"]["is_vanished"].any()


def test_a_build_without_stale_hours_changes_nothing(generated: Marts) -> None:
    before = generated.tables()
    generated.build()
    agree(generated.tables(), before)
