"""The network of a training's workers: they reach each other, and nothing else reaches them."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_within, net, network_policy

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


def names_of_workers(
    component: str, name: str, namespace: pulumi.Input[str], opts: pulumi.ResourceOptions
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
            cluster_ip="None", publish_not_ready_addresses=True, selector=selector(component, name)
        ),
        opts=opts,
    )
