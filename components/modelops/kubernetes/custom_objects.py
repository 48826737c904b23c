"""Objects of kinds that the Kubernetes SDK has no class for.

The provider knows nothing of their fields. A value that the cluster keeps otherwise than the program wrote it is a
change at every `up`, and with `replace_on_changes` a replacement; what a webhook or controller fills in beside it is
not. So what is written here is what the cluster would keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi import _types
from pulumi_kubernetes import _utilities

from modelops.core.outputs import is_output
from modelops.core.quantities import canonical

_QUANTITIES = frozenset({"requests", "limits", "sizeLimit"})
"""Fields of a pod whose value, or whose values, are quantities."""


class CustomObject(pulumi.CustomResource):
    """An object, with its status."""

    def __init__(
        self,
        name: str,
        api_version: str,
        kind: str,
        metadata: k8s.meta.v1.ObjectMetaArgs,
        spec: Any,
        opts: pulumi.ResourceOptions,
    ) -> None:
        opts = pulumi.ResourceOptions.merge(_utilities.get_resource_opts_defaults(), opts)
        props = {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": kept(metadata),
            "spec": kept(spec),
            "status": None,
        }
        super().__init__(f"kubernetes:{api_version}:{kind}", name, props, opts)

    @property
    def metadata(self) -> pulumi.Output[Any]:
        """The object's metadata."""
        return pulumi.Output.from_input(self.__dict__["metadata"])

    @property
    def spec(self) -> pulumi.Output[Any]:
        """The object's spec."""
        return pulumi.Output.from_input(self.__dict__["spec"])

    @property
    def status(self) -> pulumi.Output[Any]:
        """The object's status."""
        return pulumi.Output.from_input(self.__dict__["status"])


def kept(value: Any, *, quantity: bool = False) -> Any:
    """`value` as the cluster keeps it: without nulls, quantities in the server's own form."""
    if is_output(value):
        return pulumi.Output.from_input(value).apply(lambda known: kept(known, quantity=quantity))
    if _types.is_input_type(type(value)):
        value = _types.input_type_to_dict(value)
    if isinstance(value, Mapping):
        return {
            key: kept(entry, quantity=quantity or key in _QUANTITIES)
            for key, entry in value.items()
            if entry is not None
        }
    if isinstance(value, list | tuple):
        return [kept(entry, quantity=quantity) for entry in value]
    return _canonical(value) if quantity and isinstance(value, str) else value


def _canonical(quantity: str) -> str:
    try:
        return canonical(quantity)
    except ValueError:
        # It is the server's to refuse it.
        return quantity
