"""A Job of the serving image that asks the registry for something, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import labels, selector
from modelops.kubernetes.network import allow_egress, net
from modelops.kubernetes.pods import core, pull_secrets, restricted_pod

batch = k8s.batch.v1


def only_out(
    job: str,
    kind: str,
    instance: str,
    namespace: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *ports: pulumi.Input[int],
) -> net.NetworkPolicy:
    """The network policy of the pods labelled as `kind` and `instance`: nobody reaches them, and they reach `ports`."""
    return net.NetworkPolicy(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=job, namespace=namespace, labels=labels(kind, kind, instance)),
        spec=net.NetworkPolicySpecArgs(
            pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(kind, instance)),
            policy_types=["Ingress", "Egress"],
            egress=[allow_egress(*ports)],
        ),
        opts=opts,
    )


def registry_job(
    job: str,
    kind: str,
    instance: str,
    namespace: pulumi.Input[str],
    container: core.ContainerArgs,
    volumes: Sequence[core.VolumeArgs],
    opts: pulumi.ResourceOptions,
    *,
    account: pulumi.Input[str],
    image_pull_secret: pulumi.Input[str] | None,
    deadline_seconds: pulumi.Input[int],
) -> batch.Job:
    """One pod, once, under a name of Pulumi's own. A failed one is run again by the next `pulumi up`."""
    described = labels(kind, kind, instance)
    spec = core.PodSpecArgs(
        restart_policy="Never",
        service_account_name=account,
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=restricted_pod(),
        image_pull_secrets=pull_secrets(image_pull_secret),
        volumes=volumes,
        containers=[container],
    )
    return batch.Job(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace, labels=described, annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=batch.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=deadline_seconds,
            template=core.PodTemplateSpecArgs(metadata=k8s.meta.v1.ObjectMetaArgs(labels=described), spec=spec),
        ),
        opts=opts,
    )
