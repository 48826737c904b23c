"""The stack's namespaces, which are kept while they hold volumes that outlive the stack."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pydantic import BaseModel


def namespace(name: str, profile: str, *holds: BaseModel, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A namespace that enforces one of Kubernetes' pod security profiles.

    It stays when the stack is destroyed if the settings in `holds` keep a volume, which would go with it, and the next
    `up` takes it over: so `opts` has a provider that may (`upsert_existing_objects`).
    """
    labels = {"app.kubernetes.io/part-of": "modelops", "pod-security.kubernetes.io/enforce": profile}
    kept = any(keeps_volumes(settings.model_dump(exclude_none=True)) for settings in holds)
    resource = k8s.core.v1.Namespace(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=labels),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=kept)),
    )
    return resource.metadata.apply(lambda metadata: str(metadata["name"]))


def keeps_volumes(settings: Mapping[str, Any]) -> bool:
    """Whether the settings of a component, or of a part of it, have a volume that outlives the stack: one that is to
    be retained, somebody else's claim, a database that the component runs, or a back-up."""
    if settings.get("enabled") is False:
        return False
    if settings.get("retain_volume") or {"claim", "data_claim", "backup"} & settings.keys():
        return True
    if "database" in settings and "secret" not in settings["database"]:
        return True
    parts = settings.items() if "existing" not in settings else []
    return any(keeps_volumes(part) for _name, part in parts if isinstance(part, Mapping))
