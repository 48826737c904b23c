"""Jobs: those that do one thing at the registry, and which ends of a pod are final."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_egress, net, network_policy
from modelops.kubernetes.pods import core, pod_template

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
    metadata = k8s.meta.v1.ObjectMetaArgs(name=job, namespace=namespace, labels=standard_labels(kind, kind, instance))
    return network_policy(job, metadata, selector(kind, instance), opts, egress=[allow_egress(*ports)])


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
    args: Mapping[str, Any],
    deadline_seconds: pulumi.Input[int],
) -> batch.Job:
    """One pod, once, under a generated name, placed as the component's `args` say.

    A failed one is run again by the next `pulumi up`.
    """
    labels = standard_labels(kind, kind, instance)
    template = pod_template(labels, account, [container], args, restart_policy="Never", volumes=volumes)
    return batch.Job(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace, labels=labels, annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=batch.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=deadline_seconds,
            template=template,
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
