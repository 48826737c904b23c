"""Apache MXNet 1.9.1 (retired upstream): Gluon models, gradients summed by its parameter servers (dist_sync)."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from modelops_runtime.training.rendezvous import Peers
from sample.batches import Batch
from sample.parameters import Parameters
from sample.preprocess import Array

SOURCE = ("model-symbol.json", "model-0000.params")
RENDEZVOUS = ("DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")


def problems(workers: int) -> list[str]:
    missing = [name for name in RENDEZVOUS if not os.environ.get(name)] if workers > 1 else []
    return [f"{name} is not set, which several workers need" for name in missing]


def start(parameters: Parameters) -> None:
    import mxnet as mx

    mx.random.seed(parameters.seed)


def build(parameters: Parameters, peers: Peers) -> "GluonModel":
    return GluonModel(parameters, peers)


class GluonModel:
    served_by, served_file = "onnx", "model.onnx"

    def __init__(self, parameters: Parameters, peers: Peers) -> None:
        import mxnet as mx

        self._parameters = parameters
        self._context = mx.gpu() if mx.context.num_gpus() else mx.cpu()
        self._network = network(parameters, self._context)
        self._trainer = mx.gluon.Trainer(
            self._network.collect_params(),
            "adam",
            {"learning_rate": parameters.learning_rate},
            kvstore=None,
        )
        # The servers only sum gradients, under keys of their own. A Trainer with this store keeps the weights under the
        # same keys, and a worker that starts later than the others may then take weights for gradients.
        self._servers = mx.kv.create("dist_sync") if peers.count > 1 else None
        self._gradients = [value.grad() for value in self._network.collect_params().values()]
        if self._servers:
            for key, gradient in enumerate(self._gradients):
                self._servers.init(key, mx.nd.zeros_like(gradient))

    def step(self, batch: Batch) -> float:
        import mxnet as mx

        inputs, targets, weights = (
            mx.nd.array(part, self._context) for part in (batch.inputs, batch.targets, batch.weights)
        )
        with mx.autograd.record():
            loss = (_losses(self._network(inputs), targets, self._parameters) * weights).sum()
        loss.backward()
        if self._servers:
            for key, gradient in enumerate(self._gradients):
                self._servers.push(key, gradient)
                self._servers.pull(key, gradient)
        self._trainer.step(1)
        return float(loss.asscalar())

    def predict(self, inputs: Array) -> Array:
        import mxnet as mx

        outputs = self._network(mx.nd.array(inputs, self._context))
        if self._parameters.task == "classification":
            outputs = outputs.softmax(axis=1)
        predicted: Array = outputs.asnumpy()
        return predicted

    def exact(self, inputs: Array) -> Array:
        import mxnet as mx

        precise = self._plain()
        precise.cast("float64")
        predicted: Array = precise(mx.nd.array(inputs, mx.cpu(), dtype="float64")).asnumpy()
        return predicted

    def state(self) -> bytes:
        arrays = {f"weight_{name}": value.data().asnumpy() for name, value in self._values().items()}
        updater, optimizer = self._trainer._updaters[0], self._trainer._optimizer
        for index, (mean, variance) in updater.states.items():
            arrays[f"mean_{index}"], arrays[f"variance_{index}"] = mean.asnumpy(), variance.asnumpy()
            arrays[f"updates_{index}"] = np.array(optimizer._index_update_count[index])
        content = io.BytesIO()
        np.savez(content, **arrays)
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        import mxnet as mx

        updater, optimizer = self._trainer._updaters[0], self._trainer._optimizer
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            for name, value in self._values().items():
                value.set_data(mx.nd.array(arrays[f"weight_{name}"], self._context))
            for index in (int(key.split("_")[1]) for key in arrays if key.startswith("mean_")):
                parts = (arrays[f"{part}_{index}"] for part in ("mean", "variance"))
                updater.states[index] = tuple(mx.nd.array(part, self._context) for part in parts)
                updater.states_synced[index] = True
                optimizer._index_update_count[index] = int(arrays[f"updates_{index}"])
            optimizer.num_update = max(optimizer._index_update_count.values(), default=0)

    def _values(self) -> dict[str, Any]:
        return dict(self._network._collect_params_with_prefix())

    def save(self, folder: Path) -> tuple[str, ...]:
        import mxnet as mx

        plain = self._plain()
        plain(mx.nd.zeros((1, self._parameters.inputs)))
        plain.export(str(folder / "model"))
        return SOURCE

    def _plain(self) -> Any:
        """The model as it predicts."""
        import mxnet as mx

        plain = network(self._parameters, mx.cpu(), softmax=True)
        values = dict(plain._collect_params_with_prefix())
        for name, value in self._values().items():
            values[name].set_data(value.data().as_in_context(mx.cpu()))
        return plain

    def convert(self, file: Path) -> None:
        import mxnet as mx

        symbol, weights = (str(file.with_name(name)) for name in SOURCE)
        columns = self._parameters.inputs
        mx.onnx.export_model(
            symbol,
            weights,
            [(1, columns)],
            [np.float32],
            str(file),
            dynamic=True,
            dynamic_input_shapes=[("rows", columns)],
        )


def network(parameters: Parameters, context: Any, *, softmax: bool = False) -> Any:
    """The layers, by default without the softmax of a classification."""
    import mxnet as mx
    from mxnet.gluon import nn

    layers, width = nn.HybridSequential(), parameters.inputs
    for _layer in range(parameters.hidden_layers):
        layers.add(nn.Dense(parameters.hidden_units, activation=parameters.activation, in_units=width))
        width = parameters.hidden_units
    layers.add(nn.Dense(parameters.outputs, in_units=width))
    if softmax and parameters.task == "classification":
        layers.add(nn.HybridLambda("softmax"))
    layers.initialize(mx.init.Xavier(), ctx=context)
    layers.hybridize()
    return layers


def _losses(outputs: Any, targets: Any, parameters: Parameters) -> Any:
    """The loss of each row."""
    if parameters.loss_name == "cross_entropy":
        return -(outputs.log_softmax(axis=1) * targets).sum(axis=1)
    if parameters.task == "classification":
        outputs = outputs.softmax(axis=1)
    return (outputs - targets).square().mean(axis=1)
