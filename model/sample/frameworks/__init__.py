"""One module a framework, each behind the same small interface. An image has the one that it trains with."""

import importlib
from pathlib import Path
from typing import Protocol, cast

from modelops_runtime.training.rendezvous import Peers
from sample.batches import Batch
from sample.parameters import Parameters
from sample.preprocess import Array


class Model(Protocol):
    """A model in training. With several workers all make the same steps."""

    served_by: str
    """The slim runtime that can serve it; see docs/model.md."""
    served_file: str
    """Name of the file that this runtime takes."""

    def step(self, batch: Batch) -> float:
        """One step of the optimizer with the gradient of the whole batch; this worker's part of the loss."""

    def predict(self, inputs: Array) -> Array:
        """Predictions, of a classification probabilities; by this worker alone."""

    def exact(self, inputs: Array) -> Array:
        """The same predictions in double precision: how far `predict` is from them is its own rounding."""

    def state(self) -> bytes:
        """Weights and optimizer, the same at every worker."""

    def restore(self, state: bytes) -> None:
        """Goes back to what `state` gave."""

    def save(self, folder: Path) -> tuple[str, ...]:
        """Writes the model as the framework itself serves it, in files of these names; the first is the one to load."""

    def convert(self, file: Path) -> None:
        """Writes the model for the slim runtime `served_by`; may raise anything."""


class Framework(Protocol):
    """What a module here offers."""

    def problems(self, workers: int) -> list[str]:
        """What is wrong with the framework's own environment variables."""

    def start(self, parameters: Parameters) -> None:
        """Imports the framework: before the workers meet, because it takes a while."""

    def build(self, parameters: Parameters, peers: Peers) -> Model:
        """The model before its first step; connects the workers."""


def available() -> list[str]:
    """The frameworks that this image trains with."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load(name: str) -> Framework:
    return cast(Framework, importlib.import_module(f"sample.frameworks.{name}"))
