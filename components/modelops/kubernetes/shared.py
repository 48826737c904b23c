"""Objects that all components of a program have in common in a namespace.

Pulumi writes its state anew whenever it makes a resource. What each of a hundred components would make is written
thousands of times, so that an update takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import short_hash
from modelops.core.per_run import per_run
from modelops.kubernetes.labels import standard_labels

Make = Callable[[str, "k8s.meta.v1.ObjectMetaArgs", pulumi.ResourceOptions], pulumi.Resource]
"""Makes objects, with a name for Pulumi, metadata and options. What it returns is the one to wait for."""


def once_in_namespace(
    name: str,
    component: str,
    role: str,
    key: tuple[str, ...],
    namespace: pulumi.Input[str],
    after: pulumi.Resource,
    opts: pulumi.ResourceOptions,
    make: Make,
) -> tuple[str, pulumi.Input[pulumi.Resource]]:
    """Name of the objects `<component>-<role>-<hash>`, and what to wait for: made by the first one that needs them in
    the namespace with the same `key`, after a resource that it has made.

    A plugin makes each component in a program of its own, which knows of no other one: `<name>-<role>`, for each.
    """
    if not is_program():
        labels = standard_labels(component, component, name)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=f"{name}-{role}", namespace=namespace, labels=labels)
        return f"{name}-{role}", make(name, metadata, opts)
    provider = opts.parent.get_provider("kubernetes:core/v1:ConfigMap") if opts.parent else None
    cluster = provider.pulumi_resource_name if provider else ""
    # Stacks may have a namespace in common.
    owner = short_hash(pulumi.get_project(), pulumi.get_stack(), cluster, *key)
    shared_name = f"{component}-{role}-{owner}"

    def shared(known: str) -> pulumi.Resource:
        there = per_run("shared objects")
        if (place := (shared_name, known)) not in there:
            labels = standard_labels(component, component, shared_name)
            metadata = k8s.meta.v1.ObjectMetaArgs(name=shared_name, namespace=known, labels=labels)
            # After what its first user depends on, such as the namespace.
            own = pulumi.ResourceOptions(provider=provider, depends_on=[after])
            there[place] = make(f"{shared_name}-{known}", metadata, own)
        return cast(pulumi.Resource, there[place])

    if isinstance(namespace, str):
        return shared_name, shared(namespace)
    later: pulumi.Output[str] = pulumi.Output.from_input(cast(Any, namespace))
    return shared_name, later.apply(shared)


def is_program() -> bool:
    """Whether this is a program's own process, which knows all of the program's components."""
    return pulumi.runtime.settings.get_root_resource() is not None
