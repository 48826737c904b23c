"""What a production stack refuses, each with its rule and what to do."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stacks import cluster

_FLOATING = re.compile(r"^(?!.*@sha256:)(?:[^/]*/)*[^:/]+(?::latest)?$")
"""An image without a digest that has no tag, or the one that everybody moves."""


def unsafe(raw: Mapping[str, Any], context: str | None) -> Iterator[str]:
    """Problems of a production stack with its cluster, its gate, its replicas and its images."""
    if context is None:
        yield "kubernetes:context is missing, it is required in production: a release goes to no cluster by accident"
    elif cluster.is_local(context, ""):
        yield f"kubernetes:context is {context!r}, must not be a local cluster in production"
    if not _at(raw, "model", "gate"):
        yield (
            "modelops:model.gate is missing, it is required in production: without one any model is released; "
            'set it as {"mse": {"max": 0.1}}'
        )
    if _at(raw, "service", "autoscaling", "min_replicas") in (0, 1):
        low = _at(raw, "service", "autoscaling", "min_replicas")
        yield f"modelops:service.autoscaling.min_replicas is {low}, must be at least 2 in production"
    for path, image in _images(raw):
        if _FLOATING.match(image):
            yield f"modelops:{path} is {image!r}, must have a digest or a tag other than `latest` in production"


def _at(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def _images(raw: Mapping[str, Any], *path: str) -> Iterator[tuple[str, str]]:
    """Every image that the settings name, and where."""
    for key, value in sorted(raw.items()):
        if isinstance(value, Mapping):
            yield from _images(value, *path, key)
        elif key in ("image", "base_image") and isinstance(value, str):
            yield ".".join((*path, key)), value
