"""Parquet."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet

from modelops_runtime.data.sources.files import open_file


def read(file: str, rows: int) -> Iterator[pa.Table]:
    """Some rows at a time; of a file without rows, none with its columns."""
    with open_file(file) as stream:
        opened = pyarrow.parquet.ParquetFile(stream)
        if not opened.metadata.num_rows:
            yield opened.schema_arrow.empty_table()
        for batch in opened.iter_batches(batch_size=rows):
            yield pa.Table.from_batches([batch])


def schema(file: str) -> pa.Schema:
    """The columns and their types, which are at the file's end."""
    with open_file(file) as stream:
        return pyarrow.parquet.read_schema(stream)


def count(file: str) -> int:
    """How many rows a file has."""
    with open_file(file) as stream:
        return int(pyarrow.parquet.ParquetFile(stream).metadata.num_rows)
