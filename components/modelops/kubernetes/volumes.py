"""Volume claims: their names, and how long they live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import holding_data
from modelops.core.outputs import merged
from modelops.core.validation import Problems
from modelops.kubernetes.pods import claimed, name_of
from modelops.kubernetes.volume_sizes import size_told

core = k8s.core.v1
core_meta = k8s.meta.v1

DATA = "data"
_TEMPLATES = "spec.volumeClaimTemplates"
"""The field of a StatefulSet that can't change: ignored in diffs, since another StatefulSet would not help."""
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod")
_FIXED_FIELDS: list[Any] = ["spec.accessModes", "spec.storageClassName"]
"""Ignored in diffs, since Kubernetes can't change them: another claim would be an empty one. So a claim keeps the class
that it was made with; its name is the provider's to keep."""


def volume_claim(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    size: pulumi.Input[str],
    storage_class: pulumi.Input[str] | None,
    opts: pulumi.ResourceOptions,
    *,
    access_modes: pulumi.Input[Sequence[pulumi.Input[str]]] = ("ReadWriteOnce",),
    retain: bool | None = None,
) -> pulumi.Output[str]:
    """Claims a volume, by default for the pods of one node. Returns the claim's name.

    The name is generated, so it never collides with a claim that outlived its stack. A larger size grows the volume in
    place where its class allows that, else the API server refuses it. The claim is protected where its component is.

    Pulumi doesn't wait for the claim but for the pod that uses it: many storage classes bind a volume only then.
    """
    claim = core.PersistentVolumeClaim(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace, labels=labels, annotations={"pulumi.com/skipAwait": "true"}
        ),
        spec=_spec(size, storage_class, pulumi.Output.from_input(access_modes).apply(list)),
        opts=merged(size_told(holding_data(opts)), ignore_changes=_FIXED_FIELDS, retain_on_delete=retain),
    )
    return name_of(claim)


def optional_claim(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    volume: Mapping[str, Any] | None,
    pods: int,
    opts: pulumi.ResourceOptions,
) -> pulumi.Input[str] | None:
    """The claim of an optional volume: a new one with `storage_size`, an existing one with `claim`."""
    volume = volume or {}
    if "storage_size" not in volume:
        return volume.get("claim")
    return volume_claim(
        name,
        namespace,
        labels,
        volume["storage_size"],
        volume.get("storage_class"),
        opts,
        access_modes=volume.get("access_modes", ["ReadWriteMany" if pods > 1 else "ReadWriteOnce"]),
        retain=volume.get("retain_volume", False),
    )


def retained_claim(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    size: pulumi.Input[str],
    part: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> pulumi.Input[str]:
    """The claim of a part's volume: its `claim`, or a new one that is retained unless `retain_volume` is false."""
    if "claim" in part:
        return cast(pulumi.Input[str], part["claim"])
    retain = part.get("retain_volume", True)
    return volume_claim(name, namespace, labels, size, part.get("storage_class"), opts, retain=retain)


class PodVolumes:
    """The volume `data` of each pod of a StatefulSet: the existing `claim` of a single one, or a claim that the
    StatefulSet makes for each, which grows in place and keeps the class that it was made with."""

    def __init__(
        self, labels: Mapping[str, pulumi.Input[str]], size: pulumi.Input[str], part: Mapping[str, Any]
    ) -> None:
        self._labels, self._size, self._part = labels, size, part

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the StatefulSet's spec."""
        if "claim" in self._part:
            return {}
        claim = core.PersistentVolumeClaimArgs(
            metadata=core_meta.ObjectMetaArgs(name=DATA, labels=self._labels),
            spec=_spec(self._size, self._part.get("storage_class"), ["ReadWriteOnce"]),
        )
        deleted = "Retain" if self._part.get("retain_volume", True) else "Delete"
        return {
            "volume_claim_templates": [claim],
            "persistent_volume_claim_retention_policy": (
                k8s.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicyArgs(
                    when_deleted=deleted, when_scaled="Retain"
                )
            ),
        }

    @property
    def volumes(self) -> list[core.VolumeArgs]:
        """Volumes of the pod, beside those that the StatefulSet adds."""
        return [claimed(DATA, self._part["claim"])] if "claim" in self._part else []

    def options(self, opts: pulumi.ResourceOptions, **more: Any) -> pulumi.ResourceOptions:
        """Options of the StatefulSet."""
        return merged(holding_data(opts), ignore_changes=None if "claim" in self._part else [_TEMPLATES], **more)

    def grow(
        self,
        pods: k8s.apps.v1.StatefulSet,
        name: str,
        count: int,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Gives the claims the size: a StatefulSet neither grows them, nor can its own template change."""
        for index in range(0 if "claim" in self._part else count):
            _grow(f"{name}-{index}", namespace, self._size, merged(opts, depends_on=[pods]))


def _spec(
    size: pulumi.Input[str],
    storage_class: pulumi.Input[str] | None,
    access_modes: pulumi.Input[Sequence[pulumi.Input[str]]],
) -> core.PersistentVolumeClaimSpecArgs:
    return core.PersistentVolumeClaimSpecArgs(
        access_modes=access_modes,
        storage_class_name=storage_class,
        resources=core.VolumeResourceRequirementsArgs(requests={"storage": size}),
    )


def _grow(
    pod: str, namespace: pulumi.Input[str], size: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> core.PersistentVolumeClaimPatch:
    return core.PersistentVolumeClaimPatch(
        f"{pod}-{DATA}",
        metadata=core_meta.ObjectMetaPatchArgs(
            name=f"{DATA}-{pod}",
            namespace=namespace,
            # The size was the StatefulSet controller's.
            annotations={"pulumi.com/patchForce": "true", "pulumi.com/skipAwait": "true"},
        ),
        spec=core.PersistentVolumeClaimSpecPatchArgs(
            resources=core.VolumeResourceRequirementsPatchArgs(requests={"storage": size})
        ),
        # A claim can't be without a size, so this one is never given back.
        opts=merged(size_told(opts), retain_on_delete=True),
    )


def check_volume(problems: Problems, field: str, volume: object, instead: str | None = None) -> None:
    """Checks the volume of `optional_claim`. `instead` is another key that may take a volume's place."""
    if not isinstance(volume, Mapping):
        return
    keys = ["storage_size", "claim", *([instead] if instead else [])]
    chosen = [key for key in keys if key in volume]
    if len(chosen) != 1:
        problems.add(field, chosen or dict(volume), f"must have one of {', '.join(keys)}")
    problems.quantity(f"{field}.storage_size", volume.get("storage_size"))
    check_access_modes(problems, field, volume)
    for key in ("storage_class", "access_modes", "retain_volume"):
        if key in volume and "storage_size" not in volume:
            problems.add(f"{field}.{key}", volume[key], "must not be given without storage_size")


def check_access_modes(problems: Problems, field: str, volume: Mapping[str, Any]) -> None:
    """Checks the volume's `access_modes`."""
    modes = volume.get("access_modes")
    if modes == []:
        problems.add(f"{field}.access_modes", [], f"must have one of {', '.join(ACCESS_MODES)}")
    if isinstance(modes, Sequence) and "ReadWriteOncePod" in modes and len(modes) > 1:
        problems.add(f"{field}.access_modes", list(modes), "must have nothing beside ReadWriteOncePod")
    for mode in modes if isinstance(modes, Sequence) else []:
        problems.choice(f"{field}.access_modes", mode, ACCESS_MODES)


def check_claim(problems: Problems, field: str, part: Mapping[str, Any]) -> None:
    """Checks the part of `retained_claim`; `field` is empty for the component's own volume."""
    prefix = f"{field}." if field else ""
    problems.text(f"{prefix}claim", part.get("claim"))
    if "claim" in part and "storage_class" in part:
        problems.add(f"{prefix}storage_class", part["storage_class"], "must not be given with claim")
