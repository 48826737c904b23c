"""ConfigMaps and Secrets, immutable and renamed with their content."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

core = k8s.core.v1


def config_map(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> core.ConfigMap:
    """An immutable ConfigMap without a fixed name: changed content makes a new one, and what mounts it rolls out."""
    metadata = k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels)
    return core.ConfigMap(name, metadata=metadata, immutable=True, data=data, opts=_replaced(opts))


def secret(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> core.Secret:
    """An immutable Secret without a fixed name; its values are secret in the state, however they were given."""
    values = {key: pulumi.Output.secret(value) for key, value in data.items()}
    metadata = k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels)
    return core.Secret(name, metadata=metadata, immutable=True, string_data=values, opts=_replaced(opts))


def generated_secret(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> core.Secret:
    """A Secret with values that the caller has just made up. The first ones stay; replacing it makes up others.

    Nobody needs to know the values, so no provider for random numbers is needed to remember them: Pulumi's state does,
    encrypted, and pods refer to the Secret.
    """
    values = {key: pulumi.Output.secret(base64.b64encode(value.encode()).decode()) for key, value in data.items()}
    metadata = k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels)
    options = pulumi.ResourceOptions(ignore_changes=["data"], additional_secret_outputs=["data"])
    return core.Secret(
        name, metadata=metadata, immutable=True, data=values, opts=pulumi.ResourceOptions.merge(opts, options)
    )


def _replaced(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    # The official provider does this of itself, unless it is configured to edit such objects in place.
    fields: list[Any] = ["data", "stringData"]
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(replace_on_changes=fields))
