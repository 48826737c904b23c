"""Volume claims: their names, and what keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.validation import Problems
from modelops.kubernetes.pods import name_of

core = k8s.core.v1

_NAMED: list[Any] = ["metadata.name", 'metadata.annotations["pulumi.com/autonamed"]']
"""What says an object's name. A volume keeps the name that it has, also that of a release which gave it a fixed one."""


def volume_claim(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    size: pulumi.Input[str],
    storage_class: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
    *,
    access_modes: Sequence[pulumi.Input[str]] = ("ReadWriteOnce",),
    retain: bool | None = None,
) -> pulumi.Output[str]:
    """Claims a volume, for one pod at a time unless other access modes are given; the claim's name.

    It has no fixed name: one that stayed when its stack went, or that another one replaces, is not in the way.

    Pulumi doesn't wait for it: many storage classes bind a volume only once a pod uses it, and that pod is waited for.
    """
    options = pulumi.ResourceOptions(ignore_changes=_NAMED, retain_on_delete=retain)
    claim = core.PersistentVolumeClaim(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace, labels=labels, annotations={"pulumi.com/skipAwait": "true"}
        ),
        spec=core.PersistentVolumeClaimSpecArgs(
            access_modes=list(access_modes),
            storage_class_name=storage_class,
            resources=core.VolumeResourceRequirementsArgs(requests={"storage": size}),
        ),
        opts=pulumi.ResourceOptions.merge(opts, options),
    )
    return name_of(claim)


def wanted_volume(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    volume: Mapping[str, Any] | None,
    pods: int,
    opts: pulumi.ResourceOptions,
) -> pulumi.Input[str] | None:
    """Name of the claim of a volume that the arguments may ask for: by its `size`, or by the `claim` that is there."""
    if volume is None or "size" not in volume:
        return None if volume is None else volume.get("claim")
    return volume_claim(
        name,
        namespace,
        labels,
        volume["size"],
        volume.get("storage_class"),
        opts,
        access_modes=volume.get("access_modes", ["ReadWriteMany" if pods > 1 else "ReadWriteOnce"]),
        retain=volume.get("retain", False),
    )


def kept_volume(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    size: pulumi.Input[str],
    part: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> pulumi.Input[str]:
    """Name of the claim of a part's volume: its `claim`, or one that stays unless its `keep_volume` is false."""
    if "claim" in part:
        return cast(pulumi.Input[str], part["claim"])
    keep = part.get("keep_volume", True)
    return volume_claim(name, namespace, labels, size, part.get("storage_class"), opts, retain=keep)


def check_claim(problems: Problems, field: str, part: Mapping[str, Any]) -> None:
    """The rules of `kept_volume`'s part."""
    problems.text(f"{field}.claim", part.get("claim"))
    if "claim" in part and "storage_class" in part:
        problems.add(f"{field}.storage_class", part["storage_class"], "must not be given with claim")
