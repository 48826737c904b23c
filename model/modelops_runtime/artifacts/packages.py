"""Which packages a model predicts with, by the runtime or framework that its manifest names. Standard library only."""

import contextlib
import platform
from collections.abc import Mapping
from importlib import metadata

SERVED_WITH: Mapping[str, Mapping[str, str]] = {
    "litert": {"ai-edge-litert": "2.3.0", "numpy": "2.4.6"},
    "onnx": {"onnxruntime": "1.32.0", "numpy": "2.4.6"},
    "tensorflow": {"tensorflow-cpu": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    "pytorch": {"torch": "2.15.0", "numpy": "2.4.6"},
    "mxnet": {"mxnet": "1.9.1", "numpy": "1.23.5"},
}
"""Of the versions in the images that serve: for a manifest that records none. A test compares them with the images'
requirements."""

TUNED_WITH: Mapping[str, str] = {
    "torch": "2.15.0",
    "transformers": "5.24.0",
    "accelerate": "1.15.0",
    "peft": "0.21.2",
}
"""The same of the image that fine-tunes, for language models."""


def served_with(runtime: str, framework: str) -> Mapping[str, str]:
    """Package → version; empty for a runtime that is not one of ours."""
    return SERVED_WITH.get(framework if runtime == "framework" else runtime, {})


def installed(runtime: str, framework: str) -> dict[str, str]:
    """The versions in this process, `python` among them, of what such a model predicts with."""
    found = {"python": platform.python_version()}
    for package in served_with(runtime, framework):
        for name in (package, package.removesuffix("-cpu")):
            with contextlib.suppress(metadata.PackageNotFoundError):
                # Without what PyPI doesn't know, such as the `+cpu` of PyTorch's own index.
                found[name] = metadata.version(name).partition("+")[0]
    return found
