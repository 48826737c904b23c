"""Text to vectors."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from modelops_runtime.artifacts.operations import words
from modelops_runtime.contract import Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import Rows
from modelops_runtime.data.transform import cells_of

if TYPE_CHECKING:
    from modelops_runtime.artifacts.operations import Operation


@step
class WordVectors(Step):
    """A text becomes the mean of its words' vectors (Word2Vec, skip-gram: Mikolov et al. 2013; gensim), as columns
    `<column>_0` and so on. The vectors are learned from the training split, and kept with its words in
    `preprocessing.json`. A text without a known word becomes zeros."""

    libraries: ClassVar[tuple[str, ...]] = ("gensim",)
    column: str
    size: int = Field(default=32, ge=1, le=1024)
    """Numbers of a vector."""
    window: int = Field(default=5, ge=1)
    """Words to each side that count as context."""
    least_count: int = Field(default=2, ge=1)
    """Words that are rarer in the training split are unknown."""
    epochs: int = Field(default=5, ge=1)
    seed: int = Field(default=7, ge=0, lt=2**32)

    @property
    def fitted(self) -> bool:
        return True

    def fit(self, train: Rows, context: Context) -> "list[Operation]":
        """One operation of the kind `words`: every known word's vector. One thread, so that the seed decides."""
        from gensim.models import Word2Vec

        context.require(train, [self.column])
        sentences = _Sentences(train, self.column, context)
        if not any(sentences):
            raise DataError(f"column {self.column} has no word in the training split", code=Exit.EMPTY)
        try:
            model = Word2Vec(
                sentences,
                vector_size=self.size,
                window=self.window,
                min_count=self.least_count,
                epochs=self.epochs,
                seed=self.seed,
                workers=1,
                sg=1,
                hashfxn=_stable,
            )
        except RuntimeError:
            problem = f"column {self.column}: no word is in the training split {self.least_count} times (least_count)"
            raise DataError(problem, code=Exit.EMPTY) from None
        vectors = {word: model.wv[word].astype("float64").tolist() for word in sorted(model.wv.key_to_index)}
        return [{"column": self.column, "kind": "words", "size": self.size, "vectors": vectors}]


class _Sentences:
    """The words of each text, read anew in every epoch."""

    def __init__(self, rows: Rows, column: str, context: Context) -> None:
        self._rows, self._operation, self._context = rows.select([column]), {"column": column, "kind": "words"}, context

    def __iter__(self) -> Iterator[list[str]]:
        for frame in self._rows.frames():
            yield from map(words, cells_of(self._operation, frame, self._context))


def _stable(text: str) -> int:
    """A hash that is the same in every process."""
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "big") % 2**32
