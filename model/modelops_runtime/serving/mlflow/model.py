"""A model that plain MLflow logged: a folder with `MLmodel`, whatever flavour."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import numpy as np

from modelops_runtime.artifacts.manifest import MIXED
from modelops_runtime.contract import ContractError, ServeContract
from modelops_runtime.registry.check import check_requirements, require
from modelops_runtime.serving.batching import scheduled
from modelops_runtime.serving.drift import EDGES, Column, Watch
from modelops_runtime.serving.http import Refusal, Response
from modelops_runtime.serving.mlflow.convert import converted
from modelops_runtime.serving.mlflow.description import Description, read_description
from modelops_runtime.serving.mlflow.flavours import Way, agrees, load
from modelops_runtime.serving.mlflow.outputs import (
    Outputs,
    answer,
    as_tensors,
    outputs_of,
    schema,
    tensors_of,
    watched,
    watched_names,
)
from modelops_runtime.serving.mlflow.reading import BodyReader, ParamReader, TableReader, TensorsReader
from modelops_runtime.serving.mlflow.rows import Rows, joined
from modelops_runtime.serving.mlflow.schemas import readers, request_schema
from modelops_runtime.serving.mlflow.signature import NUMBERS, Signature, made_up
from modelops_runtime.serving.openapi import record
from modelops_runtime.serving.served import PREDICT, Call, CallSchemas, Infer, Named, Observed, OutputTensor
from modelops_runtime.serving.worker import Worker, stuck_seconds

INVOCATIONS = "/invocations"
"""Where MLflow's own server predicts: its clients need another address, and nothing else."""
Note = Callable[[str, str], None]
"""Gets an event of the log, and its reason."""
SHOWN_ROWS = 2
BATCH_ROWS = 64
"""By default, where a row's prediction is known not to depend on the others."""
_NO_INPUTS = np.empty((0, 0))


def load_mlflow_model(settings: ServeContract, note: Note) -> "MlflowModel":
    """Raises ContractError when the image lacks what the model needs, or the model can't predict its example."""
    folder = settings.model_dir
    if settings.requirements == "warn":
        for difference in check_requirements(folder):
            note("requirement", difference)
    else:
        require(folder)
    description = read_description(folder)
    signature = description.signature
    ways, framework = _ways(description, settings, note)
    try:
        example = (
            BodyReader(signature, settings.max_batch_rows).read(description.example) if description.example else None
        )
    except Refusal as refusal:
        raise ContractError(f"the model's input example breaks its own signature: {refusal.message}") from refusal
    way, outputs = _chosen(ways, example or _made_up(signature), signature, note, must=example is not None)
    return MlflowModel(description, framework, way, outputs, settings, example)


def _ways(description: Description, settings: ServeContract, note: Note) -> tuple[list[Way], str]:
    if settings.onnx and "onnx" not in description.flavors:
        try:
            return [converted(settings.model_dir, description.signature, settings.threads)], "onnx"
        except ContractError as error:
            note("onnx", f"the model itself serves, there is no conversion: {error}")
    flavors, signature = description.flavors, description.signature
    loaded = load(settings.model_dir, flavors, signature, settings.predict_method, settings.threads)
    return loaded.ways, loaded.framework


def _chosen(
    ways: Sequence[Way], rows: Rows, signature: Signature, note: Note, *, must: bool
) -> tuple[Way, Outputs | None]:
    """The quickest way that predicts the same as the model's own. Raises ContractError when it `must` and can't."""
    *quicker, own = ways
    try:
        expected = own.predict(rows)
        outputs = outputs_of(expected, signature.outputs, len(rows))
    except Exception as error:
        if must:
            raise ContractError(f"the model can't predict its own input example: {_said(error)}") from error
        note("example", f"a made-up row can't be predicted: {_said(error)}")
        return own, None
    for way in quicker if must else ():
        reason = "another prediction of the input example"
        try:
            if agrees(way.predict(rows), expected):
                return way, outputs
        except Exception as error:
            reason = _said(error)
        note("runtime", f"{way.name} is not used: {reason}")
    return own, outputs


def _said(error: Exception) -> str:
    return error.message if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"


def _made_up(signature: Signature) -> Rows:
    """A row of zeros, in place of an example."""
    params = ParamReader(signature.params).read({})
    if signature.tensors:
        columns = {
            name: np.full([1, *map(abs, tensor.shape[1:])], "" if tensor.dtype == MIXED else 0, dtype=tensor.dtype)
            for name, tensor in signature.tensors.items()
        }
        return Rows(tuple(columns), columns, None, params)
    values: dict[str, Any] = {"binary": b"", "datetime": np.datetime64(0, "ns")}
    kinds = {column.type for column in signature.columns}
    columns = {}
    for column in signature.columns:
        dtype = NUMBERS.get(column.type) or {"boolean": "bool", "datetime": "datetime64[ns]"}.get(column.type, "object")
        columns[column.name] = array = np.empty(1, dtype=dtype)
        array[0] = values[column.type] if column.type in values else made_up(column.nested or {"type": column.type})
    matrix = np.stack(list(columns.values()), axis=1) if len(kinds) == 1 and kinds <= NUMBERS.keys() else None
    return Rows(tuple(columns), columns, matrix, params)


Answered = tuple[Rows, Outputs]


class MlflowModel:
    def __init__(
        self,
        description: Description,
        framework: str,
        way: Way,
        outputs: Outputs | None,
        settings: ServeContract,
        example: Rows | None,
    ) -> None:
        """`outputs` are those of the example; None: what they are is not known."""
        self.name = settings.model_name
        self.version = settings.model_version
        self.run_id = description.run_id
        self.platform = framework
        self.way = way.name
        self._signature = signature = description.signature
        self._outputs = outputs
        self._rows = settings.max_batch_rows
        self._reader = BodyReader(signature, self._rows)
        self._table: TableReader | TensorsReader = (
            TableReader(signature, self._rows) if signature.columns else TensorsReader(signature, self._rows)
        )
        self._params = ParamReader(signature.params)
        names = watched_names(outputs) if outputs else []
        self.watch = Watch({name: Column(EDGES) for name in names}, {})
        self.inputs = readers(signature, self._rows)
        self.outputs: Sequence[OutputTensor] = tensors_of(outputs) if outputs else []
        self.calls: Mapping[str, Call] = {
            PREDICT: self._call("outputs", flat=True),
            INVOCATIONS: self._call("predictions", flat=False),
        }
        self._way = way.predict
        self._worker = Worker("predict")
        self.stuck_seconds = stuck_seconds(settings)
        batch_rows = settings.batch_rows
        if batch_rows is None:
            batch_rows = BATCH_ROWS if way.by_row else 0
        self._predict = scheduled(self._one, self._several, self._worker, batch_rows, settings.predict_seconds)
        self._sample = example

    def check_alive(self) -> None:
        self._worker.check_alive(self.stuck_seconds)

    async def infer(self, request: Infer) -> tuple[Named, Observed]:
        rows = self._table.from_tensors(request.inputs)
        if self._params.any:
            rows.params = self._params.read(dict(request.parameters), known_only=False)
        outputs = await self._predict(rows)
        return as_tensors(outputs, request.outputs), self._observed(outputs)

    def _call(self, key: str, *, flat: bool) -> Call:
        read, predict, observed = self._reader.read, self._predict_rows, self._observed

        async def call(body: bytes) -> tuple[Response, Observed]:
            outputs = await predict(read(body))
            return answer(key, outputs, flat=flat), observed(outputs)

        return call

    async def _predict_rows(self, rows: Rows) -> Outputs:
        return await self._predict(rows)

    def _observed(self, outputs: Outputs) -> Observed:
        columns = watched(outputs)
        if columns.size < len(columns) * len(self.watch.columns):  # of another kind than those of the example
            columns = np.empty((0, len(self.watch.columns)))
        return Observed(len(outputs), _NO_INPUTS, columns)

    def _one(self, rows: Rows) -> Outputs:
        """In the worker's thread. Raises Refusal when a prediction is no number, or a missing value can't be taken."""
        try:
            raw = self._way(rows)
        except Exception as error:
            if not rows.missing:
                if isinstance(error, ValueError):  # by which models say that a value isn't one of theirs
                    message = f"the model can't predict these inputs: {str(error)[:300]}"
                    raise Refusal(422, "inputs", "predictable", message) from error
                raise
            message = f"{rows.missing} is missing, and the model can't predict without it"
            raise Refusal(422, rows.missing, "missing", message) from error
        return outputs_of(raw, self._signature.outputs, len(rows))

    def _several(self, requests: list[Rows]) -> list[Outputs | Exception]:
        """By one call of the model where that can be; one that fails is made request by request."""
        if len(requests) > 1 and all(requests[0].joins(rows) for rows in requests[1:]):
            with suppress(Exception):
                outputs = self._one(joined(requests))
                ends = [0, *accumulate(map(len, requests))]
                if outputs.have(ends[-1]):
                    return [outputs.part(start, end) for start, end in pairwise(ends)]
        answers: list[Outputs | Exception] = []
        for rows in requests:
            try:
                answers.append(self._one(rows))
            except Exception as error:
                answers.append(error)
        return answers

    def describe(self) -> Mapping[str, CallSchemas]:
        request = request_schema(self._signature, self._rows)
        example = {"inputs": self._example_inputs()}
        return {
            PREDICT: CallSchemas("Predict.", request, example, self._answer_schema("outputs", flat=True)),
            INVOCATIONS: CallSchemas(
                "Predict, in the form of MLflow's own server.",
                request,
                example,
                self._answer_schema("predictions", flat=False),
            ),
        }

    def _example_inputs(self) -> Any:
        """As a person would write them."""
        rows = self._sample or _made_up(self._signature)
        if self._signature.columns:
            columns = [[_as_json(value) for value in array[:SHOWN_ROWS]] for array in rows.columns.values()]
            records = [list(record) for record in zip(*columns, strict=True)]
            if not self._signature.named:
                return columns[0] if len(columns) == 1 else records
            return [dict(zip(rows.names, record, strict=True)) for record in records]
        arrays = {name: array[:SHOWN_ROWS].tolist() for name, array in rows.columns.items()}
        return arrays if self._signature.named else next(iter(arrays.values()))

    def _answer_schema(self, key: str, *, flat: bool) -> dict[str, Any]:
        return schema(key, self._outputs, flat=flat) if self._outputs else record(**{key: {}})

    @property
    def infer_example(self) -> dict[str, Any]:
        rows = self._sample or _made_up(self._signature)
        tensors = []
        for reader in self.inputs:
            array = rows.columns.get(reader.name)
            if array is None:
                continue
            values = array[:1].reshape([1, *array.shape[1:]])
            if values.dtype.kind == "f":
                values = np.nan_to_num(values)  # tensors in JSON have no missing numbers
            shape = [1, 1] if reader.column else list(values.shape)
            data = values.ravel().tolist() if values.dtype.kind in "biuf" else [_as_text(one) for one in values.ravel()]
            tensors.append({"name": reader.name, "shape": shape, "datatype": reader.datatype, "data": data})
        return {"inputs": tensors}


def _as_json(value: Any) -> Any:
    """One value as a client sends it."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(np.datetime_as_string(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return None if isinstance(value, float) and math.isnan(value) else value


def _as_text(value: Any) -> str:
    made = _as_json(value)
    return made if isinstance(made, str) else msgspec.json.encode(made).decode()
