"""The network of a training's workers: they reach each other, and nothing else reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_within, ip_families, net, network_policy
from modelops.kubernetes.shared import once_in_namespace

core = k8s.core.v1


def worker_network_policy(
    component: str,
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    workers: int,
    opts: pulumi.ResourceOptions,
) -> net.NetworkPolicy:
    """Only the workers of the same training may connect to a worker. Egress stays open: it depends on the data."""
    pods = selector(component, name)
    from_workers, _ = allow_within(k8s.meta.v1.LabelSelectorArgs(match_labels=pods))
    return network_policy(name, metadata, pods, opts, ingress=[from_workers] if workers > 1 else [])


def closed_network_policy(
    component: str, name: str, namespace: pulumi.Input[str], first: pulumi.Resource, opts: pulumi.ResourceOptions
) -> pulumi.Input[pulumi.Resource]:
    """Nothing connects to the pods of these components in the namespace, but what other policies allow. It comes after
    a resource that the component `name` has made."""

    def make(pulumi_name: str, metadata: k8s.meta.v1.ObjectMetaArgs, own: pulumi.ResourceOptions) -> pulumi.Resource:
        return network_policy(f"{pulumi_name}-closed", metadata, {"app.kubernetes.io/name": component}, own)

    return once_in_namespace(name, component, "closed", (), namespace, first, opts, make)[1]


def names_of_workers(
    component: str,
    name: str,
    namespace: pulumi.Input[str],
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> core.Service:
    """The headless Service that gives every worker a DNS name: `<job>-<index>.<name>`.

    Names resolve before the pods are ready, because workers must connect to become ready.
    """
    return core.Service(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=name,
            namespace=namespace,
            labels=standard_labels(component, component, name),
            # Nothing to wait for: its pods come later.
            annotations={"pulumi.com/skipAwait": "true"},
        ),
        spec=core.ServiceSpecArgs(
            cluster_ip="None",
            publish_not_ready_addresses=True,
            selector=selector(component, name),
            **ip_families(args),
        ),
        opts=opts,
    )
