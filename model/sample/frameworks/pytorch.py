"""PyTorch: DistributedDataParallel on gloo or, with GPUs, NCCL; served as ONNX."""

import copy
import io
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from modelops_runtime.artifacts import trained
from modelops_runtime.training.rendezvous import Peers
from sample.batches import Batch
from sample.parameters import Parameters
from sample.preprocess import Array

RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT")


def problems(workers: int) -> list[str]:
    missing = [name for name in RENDEZVOUS if not os.environ.get(name)] if workers > 1 else []
    return [f"{name} is not set, which several workers need" for name in missing]


def start(parameters: Parameters) -> None:
    import torch

    for name in ("torch.onnx", "torch.utils.flop_counter"):  # they miss torchvision and Triton, which nothing here uses
        logging.getLogger(name).setLevel(logging.ERROR)

    torch.manual_seed(parameters.seed)
    torch.use_deterministic_algorithms(True)


def build(parameters: Parameters, peers: Peers) -> "TorchModel":
    return TorchModel(parameters, peers)


class TorchModel:
    served_by, served_file = trained.TorchModel.served_by, trained.TorchModel.served_file

    def __init__(self, parameters: Parameters, peers: Peers) -> None:
        import torch

        self._parameters, self._workers = parameters, peers.count
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network(parameters).to(self._device)
        self._trained: Any = self._network
        if peers.count > 1:
            _connect(peers, self._device)
            self._trained = torch.nn.parallel.DistributedDataParallel(self._network)
        self._optimizer = torch.optim.Adam(self._network.parameters(), parameters.learning_rate)

    def step(self, batch: Batch) -> float:
        import torch

        inputs, targets, weights = (
            torch.from_numpy(part).to(self._device) for part in (batch.inputs, batch.targets, batch.weights)
        )
        loss = (_losses(self._trained(inputs), targets, self._parameters) * weights).sum()
        self._optimizer.zero_grad()
        (loss * self._workers).backward()  # DistributedDataParallel takes the mean of the workers' gradients
        self._optimizer.step()
        return float(loss.item())

    def predict(self, inputs: Array) -> Array:
        import torch

        with torch.no_grad():
            outputs = served(self._network, self._parameters)(torch.tensor(inputs, device=self._device))
        predicted: Array = outputs.cpu().numpy()
        return predicted

    def exact(self, inputs: Array) -> Array:
        import torch

        precise = copy.deepcopy(served(self._network, self._parameters)).cpu().double()
        with torch.no_grad():
            predicted: Array = precise(torch.tensor(inputs, dtype=torch.float64)).numpy()
        return predicted

    def state(self) -> bytes:
        import torch

        content = io.BytesIO()
        torch.save({"network": self._network.state_dict(), "optimizer": self._optimizer.state_dict()}, content)
        return content.getvalue()

    def restore(self, state: bytes) -> None:
        import torch

        content = torch.load(io.BytesIO(state), map_location=self._device, weights_only=True)
        self._network.load_state_dict(content["network"])
        self._optimizer.load_state_dict(content["optimizer"])

    def save(self, folder: Path) -> tuple[str, ...]:
        return self._for_export().save(folder)

    def convert(self, file: Path) -> None:
        self._for_export().convert(file)

    def _for_export(self) -> trained.TorchModel:
        example = np.zeros((1, self._parameters.inputs), "float32")
        return trained.TorchModel(served(self._network, self._parameters), example)


def network(parameters: Parameters) -> Any:
    """The layers, without the softmax of a classification."""
    from torch import nn

    activation = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[parameters.activation]
    layers: list[Any] = []
    width = parameters.inputs
    for _layer in range(parameters.hidden_layers):
        layers += [nn.Linear(width, parameters.hidden_units), activation()]
        width = parameters.hidden_units
    return nn.Sequential(*layers, nn.Linear(width, parameters.outputs))


def served(layers: Any, parameters: Parameters) -> Any:
    """The layers as they predict."""
    from torch import nn

    return nn.Sequential(layers, nn.Softmax(dim=1)) if parameters.task == "classification" else nn.Sequential(layers)


def _losses(outputs: Any, targets: Any, parameters: Parameters) -> Any:
    """The loss of each row."""
    from torch.nn import functional

    if parameters.loss_name == "cross_entropy":
        return functional.cross_entropy(outputs, targets, reduction="none")
    if parameters.task == "classification":
        outputs = outputs.softmax(dim=1)
    return (outputs - targets).square().mean(dim=1)


def _connect(peers: Peers, device: Any) -> None:
    import torch.distributed

    # The address of the worker that answered, in place of a name that may still lead to an earlier try's pod.
    os.environ["MASTER_ADDR"] = peers.addresses[0]
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, rank=peers.index, world_size=peers.count)
