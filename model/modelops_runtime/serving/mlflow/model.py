"""A model that plain MLflow logged: a folder with `MLmodel`, whatever flavour."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from modelops_runtime.artifacts.manifest import MIXED, Tensor
from modelops_runtime.contract import ContractError, ServeContract
from modelops_runtime.registry.check import check_requirements, require
from modelops_runtime.serving.batching import scheduled
from modelops_runtime.serving.drift import EDGES, Column, Watch
from modelops_runtime.serving.http import Refusal, Response
from modelops_runtime.serving.mlflow.convert import converted
from modelops_runtime.serving.mlflow.flavours import Way, agrees, load, onnx_inputs
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
from modelops_runtime.serving.mlflow.signature import NUMBERS, Signature, made_up, read_signature
from modelops_runtime.serving.open_inference.tensors import TensorReader
from modelops_runtime.serving.openapi import array_of, listed, numbers, object_of, record, row_of
from modelops_runtime.serving.served import PREDICT, Call, CallSchemas, Infer, Named, Observed, OutputTensor
from modelops_runtime.serving.worker import Worker, stuck_seconds

FILE_NAME = "MLmodel"
INVOCATIONS = "/invocations"
"""Where MLflow's own server predicts: its clients need another address, and nothing else."""
Note = Callable[[str, str], None]
"""Gets an event of the log, and its reason."""
SHOWN_ROWS = 2
BATCH_ROWS = 64
"""By default, where a row's prediction is known not to depend on the others."""
_NO_INPUTS = np.empty((0, 0))


class Description(NamedTuple):
    """What MLmodel says."""

    run_id: str
    flavors: Mapping[str, Any]
    signature: Signature
    example: bytes
    """A request, as MLflow's clients send it; empty if there is none."""


def read_description(folder: Path) -> Description:
    """Raises ContractError when it can't be read, or says too little to check requests."""
    try:
        import yaml
    except ImportError as error:
        raise ContractError(
            "this image can't serve models that plain MLflow logged: build one with mlflow_image"
        ) from error
    try:
        content = yaml.safe_load((folder / FILE_NAME).read_text())
        flavors = content["flavors"]
        example = _example(folder, content.get("saved_input_example_info") or {})
        inputs, params, outputs = (
            _listed(content.get("signature") or {}, key) for key in ("inputs", "params", "outputs")
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise ContractError(f"{FILE_NAME} can't be read: {error}") from error
    if "python_function" not in flavors and "onnx" not in flavors:
        raise ContractError(f"{FILE_NAME} has no python_function flavour, it has {', '.join(flavors)}")
    if not inputs and "onnx" in flavors:
        inputs = onnx_inputs(folder / flavors["onnx"]["data"])
    if not inputs and example:
        inputs = _inferred(example)
    if not inputs:
        raise ContractError(
            f"{FILE_NAME} has neither a signature nor an input example, so requests can't be checked: log the model"
            " with input_example=X[:5], or with signature=mlflow.models.infer_signature(X, model.predict(X))"
        )
    run_id = str(content.get("run_id") or "")
    signature = read_signature(inputs, params, outputs)
    return Description(run_id, flavors, signature, _as_rows(example, signature) if example else b"")


def _listed(signature: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(signature.get(key) or "[]")
    return found


def _example(folder: Path, info: Mapping[str, Any]) -> bytes:
    name = info.get("serving_input_path") or "serving_input_example.json"
    if (folder / name).is_file():
        return json.dumps(_read_json(folder / name)).encode()
    name = info.get("artifact_path")
    if not name:
        return b""
    content = _read_json(folder / name)
    if info.get("type") == "dataframe":
        form = "dataframe_split" if info.get("pandas_orient") == "split" else "dataframe_records"
        return json.dumps({form: content}).encode()
    return json.dumps({"inputs": content.get("inputs", content) if isinstance(content, dict) else content}).encode()


def _read_json(path: Path) -> Any:
    """As MLflow writes it, a missing number as `NaN`, which JSON has not."""
    return json.loads(path.read_bytes(), parse_constant=lambda text: None if text == "NaN" else float(text))


def _as_rows(example: bytes, signature: Signature) -> bytes:
    """An example may be one row: an object of its values, or its only value."""
    content = json.loads(example)
    inputs = content.get("inputs")
    if not signature.columns or inputs is None or isinstance(inputs, list):
        return example
    if isinstance(inputs, dict) and signature.named:
        lists = {column.name for column in signature.columns if column.listed}
        if all(
            isinstance(values, list) and (name not in lists or all(isinstance(value, list) for value in values))
            for name, values in inputs.items()
        ):
            return example
    return json.dumps({**content, "inputs": [inputs]}).encode()


def _inferred(example: bytes) -> list[dict[str, Any]]:
    """A signature's inputs, of the input example alone."""
    import pandas
    from mlflow.models import infer_signature

    content = json.loads(example)
    if "dataframe_split" in content:
        made: Any = pandas.DataFrame(**content["dataframe_split"])
    elif "dataframe_records" in content:
        made = pandas.DataFrame(content["dataframe_records"])
    else:
        made = content["inputs"]
        made = {name: np.array(one) for name, one in made.items()} if isinstance(made, dict) else np.array(made)
    inputs: list[dict[str, Any]] = infer_signature(made).inputs.to_dict()
    return inputs


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
        self.inputs = _readers(signature, self._rows)
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
        request = _request_schema(self._signature, self._rows)
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


_DTYPES = {**NUMBERS, "boolean": "bool"}
_CONTENT_TYPES = {"string": "str", "binary": "base64", "datetime": "datetime"}


def _readers(signature: Signature, rows: int) -> list[TensorReader]:
    if signature.tensors:
        return [TensorReader(name, tensor, rows) for name, tensor in signature.tensors.items()]
    return [
        TensorReader(
            column.name,
            Tensor((-1, 1), _DTYPES.get(column.type, MIXED)),
            rows,
            column=True,
            required=column.required,
            content_type=_CONTENT_TYPES.get(column.type, ""),
        )
        for column in signature.columns
    ]


def _request_schema(signature: Signature, most: int) -> dict[str, Any]:
    """Any of MLflow's ways to send rows."""
    ways = _table_ways(signature, most) if signature.columns else _tensor_ways(signature, most)
    known = object_of({}, {param.name: param.schema() for param in signature.params})
    params = {"params": {**known, "type": ["object", "null"]}}
    rows = "rows" if signature.columns else "tensors"
    description = f"The {rows}: {_named(signature)}."
    return {"description": description, "anyOf": [object_of({form: way}, params) for form, way in ways]}


def _named(signature: Signature) -> str:
    if signature.columns:
        return ", ".join(f"{column.name} ({column.type})" for column in signature.columns)
    return ", ".join(f"{name} {list(tensor.shape)} of {tensor.dtype}" for name, tensor in signature.tensors.items())


def _table_ways(signature: Signature, most: int) -> list[tuple[str, dict[str, Any]]]:
    columns = signature.columns
    items = {column.name: column.schema() for column in columns}
    required = {name: item for (name, item), column in zip(items.items(), columns, strict=True) if column.required}
    optional = {name: item for name, item in items.items() if name not in required}
    size = {"minItems": 1, "maxItems": most}
    some = {} if required else {"minProperties": 1}
    records = {**listed({**object_of(required, optional), **some}), **size}
    titled = [{**item, "title": name} for name, item in items.items()]
    rows = {**listed(row_of(titled)), **size}
    by_column = {
        **object_of(
            {name: {**listed(item), **size} for name, item in required.items()},
            {name: {**listed(item), **size} for name, item in optional.items()},
        ),
        **some,
    }
    labels = list(dict.fromkeys([*items, *(column.label for column in columns)]))
    split = record(
        optional={"index": listed({}), "columns": {**listed({"enum": labels}), "minItems": 1}},
        data={**listed(listed({"anyOf": list(items.values())})), **size},
    )
    ways = [records, rows, by_column] if signature.named else [rows]
    if len(columns) == 1:
        values = {**listed(titled[0]), **size}
        if not columns[0].listed:
            ways.append(values)
        elif not signature.named:
            ways = [values]
    either = {"anyOf": ways} if len(ways) > 1 else ways[0]
    forms = [("inputs", either), ("instances", either)]
    return [*forms, ("dataframe_split", split), ("dataframe_records", either)] if signature.named else forms


def _tensor_ways(signature: Signature, most: int) -> list[tuple[str, dict[str, Any]]]:
    arrays = {
        name: array_of({"type": "string"} if tensor.dtype == MIXED else numbers(tensor.dtype), tensor.shape, most)
        for name, tensor in signature.tensors.items()
    }
    ways = [object_of(arrays)]
    if len(arrays) == 1:
        ways.insert(0, next(iter(arrays.values())))
    rows = object_of({name: array["items"] for name, array in arrays.items()})
    either = {"anyOf": [*ways, array_of(rows, (-1,), most)]}
    return [("inputs", either), ("instances", either)]
