"""TensorFlow: Keras models, MultiWorkerMirroredStrategy, served by LiteRT."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from modelops_runtime.artifacts import trained
from modelops_runtime.training.rendezvous import Peers
from sample.batches import Batch
from sample.parameters import Parameters
from sample.preprocess import Array

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
"""TensorFlow's start-up notes would fill the Pod's termination message; oneDNN's kernels round differently."""


def problems(workers: int) -> list[str]:
    if workers == 1:
        return []
    try:
        there = len(json.loads(os.environ.get("TF_CONFIG", ""))["cluster"]["worker"])
    except (ValueError, KeyError, TypeError):
        return ["TF_CONFIG is not set to a cluster with workers, which several workers need"]
    return [] if there == workers else [f"TF_CONFIG has {there} workers, MODELOPS_WORKERS says {workers}"]


def start(parameters: Parameters) -> None:
    os.environ.update(QUIET)
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(parameters.seed)
    tf.config.experimental.enable_op_determinism()


def build(parameters: Parameters, peers: Peers) -> "KerasModel":
    return KerasModel(parameters, peers)


def network(parameters: Parameters, dtype: str = "float32") -> Any:
    """The layers, without the softmax of a classification."""
    import keras

    hidden = [
        keras.layers.Dense(parameters.hidden_units, activation=parameters.activation, dtype=dtype)
        for _layer in range(parameters.hidden_layers)
    ]
    return keras.Sequential(
        [keras.Input((parameters.inputs,), dtype=dtype), *hidden, keras.layers.Dense(parameters.outputs, dtype=dtype)]
    )


class KerasModel:
    served_by, served_file = trained.KerasModel.served_by, trained.KerasModel.served_file

    def __init__(self, parameters: Parameters, peers: Peers) -> None:
        import keras
        import tensorflow as tf

        self._parameters = parameters
        self._strategy = _strategy(peers)
        with self._strategy.scope():
            self._network = network(parameters)
            self._optimizer = keras.optimizers.Adam(parameters.learning_rate)
            self._optimizer.build(self._network.trainable_variables)
        self._step = tf.function(self._all_replicas)

    def step(self, batch: Batch) -> float:
        return float(self._step(batch.inputs, batch.targets, batch.weights))

    def _all_replicas(self, inputs: Any, targets: Any, weights: Any) -> Any:
        return self._strategy.run(self._one_replica, args=(inputs, targets, weights))

    def _one_replica(self, inputs: Any, targets: Any, weights: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses = _losses(self._network(inputs, training=True), targets, self._parameters)
            loss = tf.reduce_sum(losses * weights)
        variables = self._network.trainable_variables
        # Keras' optimizer sums the gradients of all replicas, here one a worker.
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def predict(self, inputs: Array) -> Array:
        import tensorflow as tf

        outputs = self._network(inputs)
        return np.asarray(tf.nn.softmax(outputs) if self._parameters.task == "classification" else outputs)

    def exact(self, inputs: Array) -> Array:
        return np.asarray(self._served("float64")(inputs.astype("float64")))

    def _variables(self) -> list[Any]:
        return [*self._network.variables, *self._optimizer.variables]

    def state(self) -> bytes:
        content = io.BytesIO()
        np.savez(content, *[variable.numpy() for variable in self._variables()])
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays, self._strategy.scope():
            for number, variable in enumerate(self._variables()):
                variable.assign(arrays[f"arr_{number}"])

    def save(self, folder: Path) -> tuple[str, ...]:
        return trained.KerasModel(self._served()).save(folder)

    def convert(self, file: Path) -> None:
        trained.KerasModel(self._served()).convert(file)

    def _served(self, dtype: str = "float32") -> Any:
        """The model as it predicts. Rebuilt outside the strategy: saving what is spread over workers would need
        all of them."""
        import keras

        plain = network(self._parameters, dtype)
        plain.set_weights([variable.numpy() for variable in self._network.variables])
        if self._parameters.task == "classification":
            plain.add(keras.layers.Softmax(dtype=dtype))
        return plain


def _losses(outputs: Any, targets: Any, parameters: Parameters) -> Any:
    """The loss of each row."""
    import tensorflow as tf

    if parameters.loss_name == "cross_entropy":
        return tf.nn.softmax_cross_entropy_with_logits(targets, outputs)
    if parameters.task == "classification":
        outputs = tf.nn.softmax(outputs)
    return tf.reduce_mean(tf.square(outputs - targets), axis=1)


def _strategy(peers: Peers) -> Any:
    import tensorflow as tf

    if peers.count == 1:
        return tf.distribute.get_strategy()
    # The addresses of the workers that met, in place of names that may still lead to an earlier try's pods.
    config = json.loads(os.environ["TF_CONFIG"])
    ports = [host.rpartition(":")[2] for host in config["cluster"]["worker"]]
    config["cluster"] = {"worker": [f"{at}:{port}" for at, port in zip(peers.addresses, ports, strict=True)]}
    config["task"] = {"type": "worker", "index": peers.index}
    os.environ["TF_CONFIG"] = json.dumps(config)
    return tf.distribute.MultiWorkerMirroredStrategy()
