"""Which rows each worker takes, and the proof that together they take each row once an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelops_runtime.contract import ContractError
from sample.parameters import Parameters
from sample.preprocess import Array

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """A worker's share of one step.

    The weights of all workers' shares sum to 1, so the sum of the workers' gradients is the gradient of the whole
    batch: any number of workers trains the same model.
    """

    inputs: Array
    targets: Array
    weights: Array
    rows: Rows
    """Which rows these are; may be fewer than there are inputs: shares are filled up with rows of weight 0."""
    whole: int
    """Rows of the whole batch."""


@dataclass(frozen=True)
class Shards:
    """The training rows as worker `index` of `count` walks through them."""

    inputs: Array
    targets: Array
    parameters: Parameters
    count: int = 1
    index: int = 0

    def batches(self, epoch: int, after: int = 0) -> Iterator[Batch]:
        """This worker's shares of the epoch's steps, from step `after` on. The order is the seed's and the epoch's."""
        size = -(-min(self.parameters.batch_size, len(self.inputs)) // self.count)
        for batch in self._steps(epoch)[after:]:
            rows = batch[self.index :: self.count]
            filled = np.resize(rows if len(rows) else batch[:1], size)
            weights = np.zeros(size, "float32")
            weights[: len(rows)] = 1 / len(batch)
            yield Batch(self.inputs[filled], self.targets[filled], weights, rows, len(batch))

    def before(self, epoch: int, step: int) -> Rows:
        """The rows that all workers took in the epoch's first `step` steps."""
        return np.concatenate([np.empty(0, "int64"), *self._steps(epoch)[:step]]).astype("int64")

    def _steps(self, epoch: int) -> list[Rows]:
        order = np.random.default_rng([self.parameters.seed, 2, epoch]).permutation(len(self.inputs))
        return [
            order[start : start + self.parameters.batch_size]
            for start in range(0, len(order), self.parameters.batch_size)
        ]


class Seen:
    """The rows that were taken in an epoch, by whom ever."""

    def __init__(self, rows: int, taken: Rows) -> None:
        self._times = np.bincount(taken, minlength=rows)

    def add(self, taken: Rows) -> None:
        self._times += np.bincount(taken, minlength=len(self._times))

    def check(self, epoch: int) -> None:
        """Raises ContractError unless each row was taken once."""
        wrong = np.flatnonzero(self._times != 1)
        if len(wrong):
            raise ContractError(
                f"epoch {epoch}: row {wrong[0]} was trained on {self._times[wrong[0]]} times, {len(wrong)} of"
                f" {len(self._times)} rows not once: the workers' shards are wrong"
            )
