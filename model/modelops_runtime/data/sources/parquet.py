"""Parquet."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet

from modelops_runtime.data.sources.files import open_file


def read(file: str, rows: int) -> Iterator[pa.Table]:
    with open_file(file) as stream:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch])


def schema(file: str) -> pa.Schema:
    """The columns and their types, which are at the file's end."""
    with open_file(file) as stream:
        return pyarrow.parquet.read_schema(stream)


def count(file: str) -> int:
    """How many rows a file has."""
    with open_file(file) as stream:
        return int(pyarrow.parquet.ParquetFile(stream).metadata.num_rows)
