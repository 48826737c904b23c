"""CSV."""

from collections.abc import Iterator

import pandas as pd

from modelops_runtime.data.sources.files import open_file


def read(file: str, rows: int) -> Iterator[pd.DataFrame]:
    """Rows as text: what is a number is decided over all rows, or by the declaration."""
    with open_file(file, "rt", encoding="utf-8-sig") as stream:
        yield from pd.read_csv(stream, dtype="str", chunksize=rows, keep_default_na=False, na_values=[""])
