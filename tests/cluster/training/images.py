"""The training images, built as a stack builds them."""

from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelImage
from tests.cluster.provider.harness import Stack
from tests.cluster.support import REPOSITORY

TARGETS = {"tensorflow": "train", "pytorch": "train-pytorch", "mxnet": "train-mxnet"}


class TrainingImages:
    """References by digest, by framework; an image is built when it is first asked for, layers come from the cache."""

    def __init__(self, folder: Path, facts: dict[str, str]) -> None:
        self._folder, self._facts = folder, facts
        self._built: dict[str, str] = {}

    def __getitem__(self, framework: str) -> str:
        return self.target(TARGETS[framework])

    def target(self, target: str, extras: str = "") -> str:
        """The image of any target of model/Dockerfile."""
        name = f"{target}-{extras}" if extras else target
        if name not in self._built:
            self._built[name] = self._build(name, target, extras)
        return self._built[name]

    def _build(self, name: str, target: str, extras: str) -> str:
        arguments = {"ACCELERATOR": "cpu"}  # there is no GPU here, and the CUDA libraries are large
        if extras:
            arguments["EXTRAS"] = extras
        if self._facts.get("base_image"):
            arguments["BASE_IMAGE"] = self._facts["base_image"]

        def program(_provider: k8s.Provider) -> dict[str, pulumi.Output[str]]:
            image = ModelImage(
                "image",
                {
                    "context": str(REPOSITORY / "model"),
                    "repository": f"{self._facts['registry']}/training-tests/{name}",
                    "target": target,
                    "build_args": arguments,
                    **({"builder_name": self._facts["builder"]} if self._facts.get("builder") else {}),
                },
            )
            return {"ref": image.ref}

        stack = Stack(self._folder / name)
        stack.up(program)
        return str(stack.outputs()["ref"])
