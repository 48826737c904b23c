"""What answers prompts: a model in a folder, or one behind an endpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelops_runtime.language_models.evaluation.rows import Prompt


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    text: str
    tokens: int
    """Its own, the one that ends it included."""
    seconds: float
    """Until it was there; of an answer in a batch, the batch's."""
    ended: bool
    """Whether the model ended it; else it was cut."""


class Model(Protocol):
    """Answers by the likeliest token each time."""

    def answers(self, prompts: Sequence[Prompt], max_tokens: int, batch_size: int) -> Iterator[Answer]:
        """In the order of the prompts."""

    def for_harness(self, batch_size: int, tokenizer: str | None) -> Any:
        """An `LM` of lm-evaluation-harness. `tokenizer`: a folder, for a model that has none of its own here."""
