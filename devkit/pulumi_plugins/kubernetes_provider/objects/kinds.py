"""Kinds: their group and version, and what is known about them without a server."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_CLUSTER_SCOPED = frozenset(
    """
    APIService CSIDriver CSINode CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
    ComponentStatus CustomResourceDefinition DeviceClass FlowSchema IPAddress IngressClass MutatingAdmissionPolicy
    MutatingAdmissionPolicyBinding MutatingWebhookConfiguration Namespace Node PersistentVolume PriorityClass
    PriorityLevelConfiguration ResourceSlice RuntimeClass SelfSubjectAccessReview SelfSubjectReview
    SelfSubjectRulesReview ServiceCIDR StorageClass StorageVersion StorageVersionMigration SubjectAccessReview
    TokenReview ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
    VolumeAttachment VolumeAttributesClass
    """.split()
)

# The kinds whose fields the provider knows. Others that end in k8s.io (Gateway API, metrics) are custom resources.
_BUILT_IN_GROUPS = frozenset(
    """
    admissionregistration.k8s.io apiextensions.k8s.io apiregistration.k8s.io apps auditregistration.k8s.io
    authentication.k8s.io authorization.k8s.io autoscaling batch certificates.k8s.io coordination.k8s.io
    discovery.k8s.io events.k8s.io extensions flowcontrol.apiserver.k8s.io internal.apiserver.k8s.io lifecycle.k8s.io
    networking.k8s.io node.k8s.io policy rbac.authorization.k8s.io resource.k8s.io scheduling.k8s.io settings.k8s.io
    storage.k8s.io storagemigration.k8s.io
    """.split()
) | {""}


@dataclass(frozen=True)
class GVK:
    """Group, version and kind."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """As written in objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def built_in(self) -> bool:
        """Whether the kind belongs to Kubernetes itself."""
        return self.group in _BUILT_IN_GROUPS

    @property
    def known_scope(self) -> bool | None:
        """Whether objects of a built-in kind have a namespace; None for other kinds, which only a server knows."""
        return self.kind not in _CLUSTER_SCOPED if self.built_in else None


def of_object(obj: Mapping[str, Any]) -> GVK:
    """The object's own group, version and kind."""
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return GVK("" if group == "core" else group, version, str(obj.get("kind") or ""))


def of_type(type_token: str) -> GVK:
    """The group, version and kind that a resource type names: `kubernetes:apps/v1:Deployment`; a Patch names the kind
    that it patches."""
    gvk = _named(type_token)
    return replace(gvk, kind=gvk.kind.removesuffix("Patch")) if is_patch(type_token) else gvk


def is_patch(type_token: str) -> bool:
    """Whether a resource of this type sets some fields of an object that isn't its own."""
    gvk = _named(type_token)
    # Only built-in groups have generated Patch kinds; a custom resource may have any name.
    return gvk.built_in and gvk.kind.endswith("Patch")


def _named(type_token: str) -> GVK:
    parts = type_token.split(":")
    group, _, version = parts[1].partition("/") if len(parts) == 3 else ("", "", "")
    if not version:
        raise ValueError(f"{type_token!r} does not name a group and a version")
    return GVK("" if group == "core" else group, version, parts[2])


def type_of_urn(urn: str) -> str:
    """The resource's own type in a URN."""
    return urn.split("::")[2].split("$")[-1]


def name_of_urn(urn: str) -> str:
    """The resource's name in a URN."""
    return "::".join(urn.split("::")[3:])


def is_kind(obj: Mapping[str, Any], group: str, kind: str) -> bool:
    """Whether `obj` is of that kind, in any version."""
    gvk = of_object(obj)
    return gvk.group == group and gvk.kind == kind


def is_crd(obj: Mapping[str, Any]) -> bool:
    """Whether `obj` defines a custom resource."""
    return is_kind(obj, "apiextensions.k8s.io", "CustomResourceDefinition")
