"""How far the files of sources are read."""

from collections.abc import Sequence

from modelops_runtime.data.sources import parquet
from modelops_runtime.data.sources.files import part_read, size
from modelops_runtime.data.sources.source import Source

SIZED_FILES = 100
"""Of more files nobody asks the sizes: each question is a request to an object store."""


class Reading:
    """How far the reading of files is: by their bytes, where these are known, else by their number."""

    def __init__(self, files: Sequence[str]) -> None:
        sizes = [size(file) for file in files] if len(files) <= SIZED_FILES else []
        self._weights = [each or 0 for each in sizes] if sizes and all(sizes) else [1] * len(files)
        self._file, self._seen, self._within = -1, 0, 0.0
        self._in_file: int | None = None
        self.rows = 0

    def chunk(self, file: int, source: Source, name: str, rows: int, *, kept: bool = True) -> None:
        """`rows` more of the `file`-th file have been read; `kept` if they are this worker's."""
        if file != self._file:
            self._file, self._seen = file, 0
            self._in_file = parquet.count(name) if source.format == "parquet" else None
        self._seen += rows
        self.rows += rows if kept else 0
        self._within = (self._seen / self._in_file if self._in_file else part_read()) or 0.0

    def __call__(self) -> tuple[float | None, str]:
        file, weights = max(self._file, 0), self._weights
        done = (sum(weights[:file]) + sum(weights[file : file + 1]) * min(self._within, 1)) / max(sum(weights), 1)
        return done or None, f"file {file + 1} of {len(weights)}, {self.rows:,} rows"
