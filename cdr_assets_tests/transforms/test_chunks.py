"""Frames in chunks: DuckDB's results come back in the order of the rows."""

import duckdb
import polars as pl

from cdr_assets.transforms.chunks import in_chunks


def test_chunks_come_back_in_order_from_many_threads() -> None:
    # Some rows cost much more than others, so that a later chunk is done before an earlier one.
    frame = pl.DataFrame({"row": range(100_000)}).with_columns(
        text=pl.when(pl.col("row") // 500 % 7 == 0).then(pl.lit("[1,2,3]" * 300)).otherwise(pl.lit("[]"))
    )
    with duckdb.connect(config={"threads": 4}) as connection:
        connection.register("frame", in_chunks(frame, 500))
        read = connection.execute("SELECT row, md5(repeat(text, 3)) AS hash, length(text) AS length FROM frame").pl()
    assert read["row"].equals(frame["row"])
    assert read["length"].to_list() == frame["text"].str.len_chars().to_list()


def test_a_frame_without_rows_keeps_its_columns() -> None:
    frame = pl.DataFrame(schema={"row": pl.Int64(), "text": pl.String()})
    with duckdb.connect() as connection:
        connection.register("frame", in_chunks(frame, 500))
        assert connection.execute("FROM frame").pl().schema == frame.schema
