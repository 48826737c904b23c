"""A model that has our manifest: one tensor in, one out."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelops_runtime.artifacts.manifest import MIXED, Manifest, Tensor
from modelops_runtime.artifacts.operations import RULES, BadValue
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.artifacts.runtimes import Array, Preprocessed, Runtime, load, request_seconds
from modelops_runtime.contract import ServeContract
from modelops_runtime.serving.batching import Prediction, predictor
from modelops_runtime.serving.drift import Watch, watch_of
from modelops_runtime.serving.http import Refusal, Response, json_response
from modelops_runtime.serving.open_inference.tensors import DATATYPES, TensorReader
from modelops_runtime.serving.openapi import array_of, nullable, numbers, record, row_of
from modelops_runtime.serving.served import PREDICT, Call, CallSchemas, Infer, Named, Observed, OutputTensor
from modelops_runtime.serving.validation import InputReader, all_finite
from modelops_runtime.serving.worker import Worker, stuck_seconds

INLINE_SECONDS = 0.005
"""A model whose largest request takes longer predicts in a thread of its own,"""
QUICK_SECONDS = 0.0005
"""but for requests that take less than this, about as long as the way to the thread and back."""
INPUT, OUTPUT = "input", "output"


def load_manifest_model(settings: ServeContract) -> "ManifestModel":
    """Raises ContractError when the model is not there or does not answer right."""
    manifest = Manifest.read(settings.model_dir)
    runtime = load(settings.model_dir, manifest, settings.threads)
    # A number takes at least two bytes of the body, so large rows can't come in large batches.
    rows = settings.max_body_bytes // (2 * manifest.inputs.numbers_per_row)
    rows = max(1, min(settings.max_batch_rows, rows))
    if request_seconds(runtime, manifest, rows) <= INLINE_SECONDS:
        return ManifestModel(manifest, runtime, settings, inline_rows=None)
    quick = int(QUICK_SECONDS / request_seconds(runtime, manifest, 1))
    return ManifestModel(manifest, runtime, settings, inline_rows=quick)


class ManifestModel:
    def __init__(
        self, manifest: Manifest, runtime: Runtime, settings: ServeContract, *, inline_rows: int | None
    ) -> None:
        """Requests of more rows than `inline_rows` are predicted in a thread; None: none are."""
        self.name = manifest.name
        self.version = settings.model_version
        self.run_id = manifest.run_id
        self.platform = manifest.framework if manifest.runtime == "framework" else manifest.runtime
        self.watch: Watch = watch_of(manifest)
        self.calls: Mapping[str, Call] = {PREDICT: self._answer}
        self.outputs = [OutputTensor(OUTPUT, manifest.outputs.shape, DATATYPES[manifest.outputs.dtype])]
        self._manifest = manifest
        self._rows = settings.max_batch_rows
        self._one_column = manifest.outputs.shape[1:] == (1,)
        # A model that needs longer than a moment must not hold up the event loop: probes are answered on it too.
        self._worker = None if inline_rows is None else Worker("predict")
        self._inline_rows = inline_rows or 0
        self.stuck_seconds = stuck_seconds(settings)
        self._preprocessing: Preprocessing | None = None
        prepare = None
        if isinstance(runtime, Preprocessed):
            self._preprocessing, runtime = runtime.preprocessing, runtime.model
            prepare = partial(_preprocessed, self._preprocessing)
        texts = self._preprocessing.text_inputs() if self._preprocessing else ()
        missing = self._preprocessing.missing_inputs() if self._preprocessing else ()
        self._reader = InputReader(manifest.inputs, self._rows, texts, missing)
        self.inputs: Sequence[TensorReader] = self._tensors(texts, missing)
        self._predict = predictor(
            runtime, self._worker, settings.batch_rows or 0, settings.predict_seconds, prepare, self._is_quick
        )

    def check_alive(self) -> None:
        """Raises Refusal when a prediction doesn't end. One on the event loop would keep this from being asked."""
        if self._worker is not None:
            self._worker.check_alive(self.stuck_seconds)

    def _is_quick(self, inputs: Array) -> bool:
        """While the thread predicts, the others wait for it: few runtimes can predict twice at a time."""
        return len(inputs) <= self._inline_rows and self._worker is not None and self._worker.idle

    async def infer(self, request: Infer) -> tuple[Named, Observed]:
        arrays = request.inputs
        rows = arrays[INPUT] if len(self.inputs) == 1 else self._table(arrays)
        inputs, outputs = await self._predicted(rows)
        return {OUTPUT: outputs}, Observed(len(outputs), inputs, outputs)

    async def _answer(self, body: bytes) -> tuple[Response, Observed]:
        inputs, outputs = await self._predicted(self._reader.read(body))
        values = (outputs[:, 0] if self._one_column else outputs).tolist()
        return json_response(200, {"outputs": values}), Observed(len(outputs), inputs, outputs)

    async def _predicted(self, inputs: Array) -> Prediction:
        """Of a client's rows. Raises Refusal: a category is unknown, a prediction isn't finite or takes too long."""
        prediction = await self._predict(inputs)
        if not all_finite(prediction[1]):
            raise Refusal(422, "inputs", "finite", "the prediction for these inputs is not a finite number")
        return prediction

    def _tensors(self, texts: Collection[int], missing: Collection[int]) -> list[TensorReader]:
        """A tensor has one datatype, so a model that takes text and numbers side by side has an input a column."""
        if self._preprocessing is None or self._manifest.inputs.dtype != MIXED:
            return [TensorReader(INPUT, self._manifest.inputs, self._rows, missing=missing)]
        empty = self._preprocessing.empty_texts()
        return [
            TensorReader(
                name,
                Tensor((-1, 1), MIXED if place in texts else "float64"),
                self._rows,
                column=True,
                missing=(0,) if place in missing else (),
                empty_is_missing=place in empty,
            )
            for place, name in enumerate(self._preprocessing.inputs)
        ]

    def _table(self, columns: Mapping[str, Array]) -> Array:
        """Rows of text and numbers, as the reader of JSON rows makes them."""
        rows = np.empty((len(columns[self.inputs[0].name]), len(self.inputs)), dtype=MIXED)
        for place, reader in enumerate(self.inputs):
            rows[:, place] = columns[reader.name][:, 0].tolist()
        return rows

    def describe(self) -> Mapping[str, CallSchemas]:
        manifest = self._manifest
        outputs = self._array(Tensor((-1,), manifest.outputs.dtype) if self._one_column else manifest.outputs)
        if manifest.labels:
            labels = ", ".join(map(str, manifest.labels))
            outputs["description"] = f"A row's probability of each class, in this order: {labels}."
        rows = self._array(manifest.inputs)
        if self._preprocessing is not None:
            rows["items"] = row_of(map(self._column, range(len(self._preprocessing.inputs))))
        example = {"inputs": manifest.golden.inputs[:1]}
        return {PREDICT: CallSchemas("Predict.", record(inputs=rows), example, record(outputs=outputs))}

    def _column(self, place: int) -> dict[str, Any]:
        """The schema of one value of a client's row."""
        assert self._preprocessing is not None
        name = self._preprocessing.inputs[place]
        kind = {"type": "string"} if place in self._preprocessing.text_inputs() else numbers("float64")
        if place in self._preprocessing.missing_inputs():
            kind = nullable(kind)
        sent_as = self._preprocessing.sent_as.get(name)
        return {**kind, "title": name, **({"description": sent_as} if sent_as else {})}

    def _array(self, tensor: Tensor) -> dict[str, Any]:
        return array_of({} if tensor.dtype == MIXED else numbers(tensor.dtype), tensor.shape, self._rows)

    @property
    def infer_example(self) -> dict[str, Any]:
        row = self._manifest.golden.inputs[0]
        data = [[row]] if len(self.inputs) == 1 else [[value] for value in row]
        return {
            "inputs": [
                {"name": tensor.name, "shape": [1, *tensor.shape[1:]], "datatype": tensor.datatype, "data": values}
                for tensor, values in zip(self.inputs, data, strict=True)
            ]
        }


def _preprocessed(preprocessing: Preprocessing, inputs: Array) -> Array:
    """A client's rows as the model takes them. Raises Refusal: a category is unknown, a text is no date."""
    try:
        return preprocessing.transform(inputs)
    except BadValue as error:
        name = preprocessing.input_of(error.column)
        field = f"inputs[{error.rows[0]}][{preprocessing.inputs.index(name)}]"
        raise Refusal(422, field, error.rule, f"{field} ({name}) {RULES[error.rule]}") from None
