"""What is said when the size of a volume changes: it grows where its class allows that, and never shrinks.

The API server's refusal names neither the class nor the sizes. A hook before the update knows them, in the plan too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.proto import resource_pb2, resource_pb2_grpc

from modelops.core.outputs import merged
from modelops.core.per_run import per_run
from modelops.core.quantities import number_of
from modelops.kubernetes.shared import is_program

_REQUESTS = ("spec", "resources", "requests")
_MOVE = "move the data to a claim of your own and give that as `claim`"
_HOOK = "modelops-volume-size"


def size_told(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """The options of a claim, or of the patch of one, whose changes of size are told."""
    if not _has_hooks(pulumi.runtime.settings.get_monitor()):
        return opts
    hooks = per_run("hooks")
    if _HOOK not in hooks:  # the engine knows it by its name
        hooks[_HOOK] = pulumi.ResourceHook(_HOOK, tell, pulumi.ResourceHookOptions(on_dry_run=True))
    return merged(opts, hooks=pulumi.ResourceHookBinding(before_update=[hooks[_HOOK]]))


def _has_hooks(monitor: Any) -> bool:
    """Whether the engine can call the program back: that of a plugin's component, or of a test with mocks, can't.

    Nor can that of the Automation API, which runs programs on threads: for each, Pulumi (3.259) stops what the earlier
    ones of its process had for that, whose event loop is gone, and fails.
    """
    return (
        is_program()
        and isinstance(monitor, resource_pb2_grpc.ResourceMonitorStub)
        and pulumi.runtime.settings.monitor_supports_feature(resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS)
        and threading.current_thread() is threading.main_thread()
    )


def tell(change: pulumi.ResourceHookArgs) -> None:
    """Says what a larger size takes. Raises ValueError, in words, if it is a smaller one."""
    outputs = change.old_outputs or {}
    # After a refusal Pulumi has the size that was refused as the old input.
    before = _size(outputs, "status", "capacity") or _size(outputs, *_REQUESTS) or _size(change.old_inputs, *_REQUESTS)
    after = _size(change.new_inputs, *_REQUESTS)
    if before is None or after is None or number_of(before) == number_of(after):
        return
    claim = _text(outputs, "metadata", "name") or change.name
    known = _text(outputs, "spec", "storageClassName")
    what = f'the volume of the claim "{claim}" (storage class {known or "unknown"})'
    if number_of(after) < number_of(before):
        raise ValueError(
            f"{what} has {before} and can't be made smaller, {after}: Kubernetes shrinks no volume. "
            f"Set {before} or more, or {_MOVE}"
        )
    allow = f"kubectl patch storageclass {known or 'NAME'} -p '{{\"allowVolumeExpansion\": true}}'"
    pulumi.log.info(
        f"{what} grows from {before} to {after}. If its class allows no expansion, the API server refuses that, and "
        f"the volume stays as it is: then set {before} again, or allow it ({allow}, if its driver can), or {_MOVE}"
    )


def _size(claim: Mapping[str, Any] | None, *path: str) -> str | None:
    """The size at that place of a claim, None if it isn't known."""
    found = _text(claim or {}, *path, "storage")
    try:
        return found if found and number_of(found) else None
    except ValueError:
        return None


def _text(value: Any, *path: str) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
