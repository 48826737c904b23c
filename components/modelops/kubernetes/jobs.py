"""Jobs: those that do one thing at the registry, and which ends of a pod are final."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_egress, net
from modelops.kubernetes.pods import core, pull_secrets, restricted_pod

STOPPED = 143
"""Exit code of a pod that was told to stop."""

batch = k8s.batch.v1


def egress_only_policy(
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
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=job, namespace=namespace, labels=standard_labels(kind, kind, instance)
        ),
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
    labels = standard_labels(kind, kind, instance)
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
            namespace=namespace, labels=labels, annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=batch.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=deadline_seconds,
            template=core.PodTemplateSpecArgs(metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels), spec=spec),
        ),
        opts=opts,
    )


def failure_policy(*, final: Sequence[int], uncounted: Sequence[int]) -> batch.PodFailurePolicyArgs:
    """Which ends of a pod count as a failure, and which end the Job, by exit code. Disruptions never count.

    Pass no `final` codes for a Job whose first failure ends it anyway: the official Kubernetes provider doesn't notice
    a Job that a policy failed, so `pulumi up` would wait until its own timeout.
    """
    codes = batch.PodFailurePolicyOnExitCodesRequirementArgs
    disrupted = batch.PodFailurePolicyOnPodConditionsPatternArgs(type="DisruptionTarget", status="True")
    rules = [
        batch.PodFailurePolicyRuleArgs(action="Ignore", on_pod_conditions=[disrupted]),
        batch.PodFailurePolicyRuleArgs(action="Ignore", on_exit_codes=codes(operator="In", values=list(uncounted))),
    ]
    if final:
        ends = codes(operator="In", values=list(final))
        rules.insert(0, batch.PodFailurePolicyRuleArgs(action="FailJob", on_exit_codes=ends))
    return batch.PodFailurePolicyArgs(rules=rules)
