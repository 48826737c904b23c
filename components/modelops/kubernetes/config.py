"""Immutable ConfigMaps and Secrets: new content gets a new name."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged

core = k8s.core.v1


def config_map(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> core.ConfigMap:
    """An immutable ConfigMap with a generated name: changed content makes a new one, and its pods roll out."""
    metadata = k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels)
    return core.ConfigMap(name, metadata=metadata, immutable=True, data=data, opts=_replace_on_changes(opts))


def secret(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> core.Secret:
    """An immutable Secret with a generated name; its values are secret in the state, even if passed as plain text."""
    values = {key: pulumi.Output.secret(value) for key, value in data.items()}
    metadata = k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels)
    return core.Secret(name, metadata=metadata, immutable=True, string_data=values, opts=_replace_on_changes(opts))


def generated_secret(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    data: pulumi.Input[Mapping[str, str | bytes]],
    opts: pulumi.ResourceOptions,
) -> core.Secret:
    """A Secret of values that the caller has just generated. The first ones stay; replacing it generates new ones.

    Pulumi's state keeps the values, encrypted, and pods refer to the Secret, so no random provider is needed.
    """
    encoded: pulumi.Output[Any] = pulumi.Output.from_input(data).apply(
        lambda values: {
            key: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
            for key, value in values.items()
        }
    )
    return core.Secret(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(namespace=namespace, labels=labels),
        immutable=True,
        data=pulumi.Output.secret(encoded),
        opts=merged(opts, ignore_changes=["data"], additional_secret_outputs=["data"]),
    )


def _replace_on_changes(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    # The official provider does this by default, but can be configured to edit such objects in place.
    fields: list[Any] = ["data", "stringData"]
    return merged(opts, replace_on_changes=fields)
