"""Why some arguments take no output: a plan could not be made without their values."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

_OBJECTS = "it decides which objects are created"
_RULES = "it decides which other arguments are valid"
_SHARE = "the plan works out the canary's share from it"
_VARIABLES = "it decides which variables the containers have"
_WAIT = "Pulumi must know in the plan how long it waits"
_REASONS = {
    "allow_drift": _RULES,
    "artifact": _RULES,
    "assigned_user": "it decides which fields the pods have",
    "backend": _OBJECTS,
    "builder": _OBJECTS,
    "cache": "it decides what the build reads and writes",
    "certificate_generation": "it is part of an object's name",
    "context": "the plan reads the files of this folder",
    "dockerfile": "the plan reads this file",
    "enabled": _OBJECTS,
    "engine": _OBJECTS,
    "expose": "it decides which address is the component's",
    "framework": _RULES,
    "gpu_resource": "it names a limit of the container, and names must be known in the plan",
    "ip_families": "they decide where the servers listen",
    "kind": _OBJECTS,
    "live": "it decides which objects change",
    "metric_names": "it decides the pods' labels",
    "mirroring": _OBJECTS,
    "nodes": _OBJECTS,
    "processes_per_worker": _RULES,
    "queue_timeout_seconds": _WAIT,
    "replicas": _OBJECTS,
    "reported_metrics": "it is there for the plan alone, which checks `gate` and `sweep_metric` with it",
    "retain_volume": "Pulumi must know in the plan what it may delete",
    "runtime": _OBJECTS,
    "setup": _OBJECTS,
    "shards": _OBJECTS,
    "source_token": _VARIABLES,
    "split": _OBJECTS,
    "suspend": _WAIT,
    "sweep": "it decides how many runs there are; each value in it may be an output",
    "tensor_parallel": _RULES,
    "tls": _OBJECTS,
    "tolerance_points": _SHARE,
    "tracking_token": _VARIABLES,
    "wait": _OBJECTS,
    "weight_percent": _SHARE,
    "watch": _OBJECTS,
    "workers": _OBJECTS,
}


def why_plain(field: str, kind: Any) -> str:
    """The reason why `field`, of the type `kind`, must be a plain value."""
    if typing.is_typeddict(kind):
        return "which of its fields there are decides which objects are created; outputs go into its fields"
    if reason := _REASONS.get(field.rpartition(".")[2]):
        return reason
    if typing.get_origin(kind) is Mapping:
        return "the plan must know the names in it; each of its values may be an output"
    if typing.get_origin(kind) is Sequence:
        return "the plan must know how many there are; each of them may be an output"
    return "the plan depends on it"
