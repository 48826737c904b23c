"""What the server knows of a model, whatever serves it and however its requests come."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.drift import Watch
from modelops_runtime.serving.http import Response
from modelops_runtime.serving.open_inference.tensors import Parameter, TensorReader

PREDICT = "/api/predict"


class Observed(NamedTuple):
    """What the metrics see of a prediction."""

    rows: int
    inputs: Array
    """As the model takes them; read only where the model's watch has features."""
    outputs: Array
    """A row each, finite, as many columns as the model's watch has, at least; or no rows, which observes nothing."""


class Infer(NamedTuple):
    """A request of the Open Inference Protocol, its tensors read by the model's readers."""

    inputs: Mapping[str, Array]
    """As many rows in each."""
    parameters: Mapping[str, Parameter]
    outputs: Sequence[str]
    """Names of the outputs that are wanted; empty: all."""


class OutputTensor(NamedTuple):
    name: str
    shape: Sequence[int]
    """-1: any size."""
    datatype: str

    def metadata(self) -> dict[str, object]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


Named = Mapping[str, Array]
"""Output tensors by name; text is an array of `str`."""
Call = Callable[[bytes], Coroutine[Any, Any, tuple[Response, Observed]]]
"""A body to its answer. Raises Refusal."""


@dataclass(frozen=True)
class CallSchemas:
    """A call in the OpenAPI document."""

    summary: str
    request: dict[str, Any]
    example: object
    answer: dict[str, Any]


class Served(Protocol):
    """One loaded model."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def platform(self) -> str:
        """What it runs in."""

    @property
    def inputs(self) -> Sequence[TensorReader]:
        """Of the Open Inference Protocol, in the model's order."""

    @property
    def outputs(self) -> Sequence[OutputTensor]: ...

    @property
    def watch(self) -> Watch:
        """What becomes of its predictions in the metrics."""

    @property
    def calls(self) -> Mapping[str, Call]:
        """By path; `/api/predict` is one."""

    def describe(self) -> Mapping[str, CallSchemas]:
        """Its calls, by path."""

    @property
    def infer_example(self) -> dict[str, Any]:
        """A request of the Open Inference Protocol that it answers."""

    async def infer(self, request: Infer) -> tuple[Named, Observed]:
        """The outputs that are wanted. Raises Refusal."""

    def check_alive(self) -> None:
        """Raises Refusal when a prediction doesn't end."""
