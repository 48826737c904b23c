"""The identity of a training run: what it is made from, and nothing else.

`run_id` is the first twelve hex digits of the SHA-256 of a canonical JSON document of
- the image's digest (`sha256:…` alone: the same image in another registry trains the same model),
- the command (a fixed token for the default one), the parameters and the framework,
- the data's URI and version,
- the topology (the number of workers; processes per worker and tensor parallelism unless they are 1),
- the sweep, if any: its values, metric and goal.
The gate is left out: a bound on the result does not change the result. So are resources, retries, deadlines and names.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

RUN_ID_LENGTH = 12
TRAINING_TOKEN = ("python", "-m", "model.train")
PREPARING_TOKEN = ("python", "-m", "model.prepare")
"""The identity hashes these in place of the default commands: they are the first version's spelling of them. Renaming
a command changes no result, so it must not train or prepare anything again."""


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no whitespace, 1.0 written as 1 (Pulumi's wire has only floats).

    Raises ValueError for NaN and infinities, TypeError for values that JSON can't represent.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def run_id(
    *,
    image_digest: str,
    command: Sequence[str],
    parameters: Mapping[str, Any],
    data_uri: str,
    data_version: str,
    framework: str,
    workers: int,
    processes_per_worker: int = 1,
    tensor_parallel: int = 1,
    sweep: Mapping[str, Any] | None = None,
) -> str:
    """The run's identity, as described above."""
    topology = {"workers": workers}
    # Defaults are left out, so that runs from before these fields existed keep their identity.
    topology |= {"processes_per_worker": processes_per_worker} if processes_per_worker != 1 else {}
    topology |= {"tensor_parallel": tensor_parallel} if tensor_parallel != 1 else {}
    document: dict[str, Any] = {
        "command": list(command),
        "data": {"uri": data_uri, "version": data_version},
        "framework": framework,
        "image": image_digest,
        "parameters": parameters,
        "topology": topology,
    }
    if sweep:
        document["sweep"] = sweep
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()[:RUN_ID_LENGTH]


def image_digest(reference: str) -> str:
    """`sha256:…` of `repository@sha256:…`.

    Raises ValueError if the reference has no digest: a tag can move, and the run id would be wrong.
    """
    digest = reference.partition("@")[2]
    if not digest.startswith("sha256:"):
        raise ValueError(f"image is {reference!r}, must be named by digest (repository@sha256:…)")
    return digest


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        # Not by `items()`: Pulumi's type of a Secret's volume has a field of that name.
        return {str(key): _plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
