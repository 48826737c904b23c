"""Parquet."""

from collections.abc import Iterator

import pandas as pd
import pyarrow.parquet

from modelops_runtime.data.nested import to_pandas
from modelops_runtime.data.sources.files import open_file


def read(file: str, rows: int) -> Iterator[pd.DataFrame]:
    with open_file(file) as stream:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=rows):
            yield to_pandas(batch)
