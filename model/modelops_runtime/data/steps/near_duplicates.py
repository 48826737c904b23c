"""Texts that are almost another one."""

import hashlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from modelops_runtime.artifacts.operations import words
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data import nested, texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import hashes

PERMUTATIONS = 128
MISSED = 0.01
"""Share of the pairs exactly at the threshold that are not found, at most."""


@step
class NearDuplicates(Step):
    """Leaves out texts that are almost another one: those whose sets of shingles (`shingle` words or characters in a
    row) have a Jaccard similarity of at least `threshold` (Broder 1997), found by MinHash and LSH (datasketch). Of
    such texts the longest stays. What is left does not depend on the order of the rows.

    Of messages, all contents count but the system's. LSH finds candidates, which are compared exactly; it misses at
    most one of a hundred pairs at the threshold, and hardly any above it. The step comes before the split, so that no
    near duplicate of a test text is trained on. Not with the engine dask.
    """

    takes_nested: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("datasketch",)
    columns: list[str] | None = None
    """Columns to compare together. Default: those of the format that `conversations` recognised."""
    threshold: float = Field(default=0.8, ge=0.5, le=1)
    shingle: int = Field(default=5, ge=1, le=100)
    unit: Literal["words", "characters"] = "words"
    """Characters for languages that write no spaces between words."""
    seed: int = Field(default=7, ge=0, lt=2**32)

    @property
    def in_pieces(self) -> bool:
        return False

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise ConfigurationError("near_duplicates needs datasketch: use the image target prepare") from None

        columns = self.columns or [name for name in texts.COLUMNS if name in frame.columns]
        context.require(frame, columns or [texts.MESSAGES])
        whole = [" \n".join(_texts(cells)) for cells in zip(*(frame[name] for name in columns), strict=True)]
        lsh, kept = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(self.threshold)), np.ones(len(frame), dtype=bool)
        order = _order(whole, frame)
        hashed = MinHash.generator(
            (self._shingles(whole[place]) for place in order), num_perm=PERMUTATIONS, seed=self.seed
        )
        for place, minhash in zip(order, hashed, strict=True):
            if minhash.is_empty():
                continue
            shingles = set(self._shingles(whole[place]))
            if any(
                _jaccard(shingles, set(self._shingles(whole[other]))) >= self.threshold for other in lsh.query(minhash)
            ):
                kept[place] = False
            else:
                lsh.insert(place, minhash)
        return frame[kept]

    def _shingles(self, text: str) -> list[bytes]:
        found = words(text)
        units = found if self.unit == "words" else list(" ".join(found))
        between = " " if self.unit == "words" else ""
        last = max(len(units) - self.shingle, 0)
        return [between.join(units[at : at + self.shingle]).encode() for at in range(last + 1)] if units else []


def _order(whole: list[str], frame: pd.DataFrame) -> list[int]:
    """Places of the rows, the longest text first; of equally long ones, in an order that only their content decides."""
    digests = [hashlib.sha256(text.encode()).digest() for text in whole]
    of_rows = hashes(frame).tolist()
    return sorted(range(len(whole)), key=lambda place: (-len(whole[place]), digests[place], of_rows[place]))


def _texts(cells: Any) -> Iterator[str]:
    for cell in cells:
        if isinstance(cell, list) and all(isinstance(one, dict) and {"role", "content"} <= {*one} for one in cell):
            yield from (message["content"] or "" for message in cell if message["role"] != "system")
        elif not nested.absent(cell):
            yield cell if isinstance(cell, str) else nested.text(cell)


def _bands(threshold: float) -> tuple[int, int]:
    """LSH's bands and the rows of each: the fewest candidates with which MISSED is kept."""
    rows = max(
        rows
        for rows in range(1, PERMUTATIONS + 1)
        if rows == 1 or (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISSED
    )
    return PERMUTATIONS // rows, rows


def _jaccard(one: set[bytes], other: set[bytes]) -> float:
    return len(one & other) / len(one | other)
