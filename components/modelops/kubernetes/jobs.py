"""What Jobs have in common: the network policy of those that only reach out, and the pod failure policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_egress, net, network_policy
from modelops.kubernetes.pods import core

STOPPED = 143
"""Exit code of a pod that got SIGTERM."""

batch = k8s.batch.v1


def egress_only_policy(
    job: str,
    kind: str,
    instance: str,
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *targets: pulumi.Input[int | str],
) -> net.NetworkPolicy:
    """Lets the pods labelled `kind` and `instance` reach `targets` and look up names, and nothing reach them."""
    labels = standard_labels(kind, kind, instance)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=job, namespace=args["namespace"], labels=labels)
    return network_policy(job, metadata, selector(kind, instance), opts, egress=allow_egress(args, *targets))


def failure_policy(
    template: core.PodTemplateSpecArgs, *, final: Sequence[int], uncounted: Sequence[int]
) -> batch.PodFailurePolicyArgs:
    """Which exit codes of the template's containers fail the Job at once (`final`) and which don't count. Disruptions
    never count.

    Each container is named: a rule without a name is also about sidecars that others inject, and one that is stopped
    ends with 143 whatever the pod came to.

    Pass no `final` codes for a Job without retries, which fails anyway: the official Kubernetes provider doesn't notice
    a Job that its policy failed, so `pulumi up` would wait until its own timeout.
    """

    def rules_of(action: str, codes: Sequence[int]) -> list[batch.PodFailurePolicyRuleArgs]:
        return [
            batch.PodFailurePolicyRuleArgs(
                action=action,
                on_exit_codes=batch.PodFailurePolicyOnExitCodesRequirementArgs(
                    container_name=name, operator="In", values=list(codes)
                ),
            )
            for name in container_names(template)
            if codes
        ]

    disrupted = batch.PodFailurePolicyOnPodConditionsPatternArgs(type="DisruptionTarget", status="True")
    ignored = batch.PodFailurePolicyRuleArgs(action="Ignore", on_pod_conditions=[disrupted])
    return batch.PodFailurePolicyArgs(rules=[*rules_of("FailJob", final), ignored, *rules_of("Ignore", uncounted)])


def container_names(template: core.PodTemplateSpecArgs) -> list[str]:
    """The template's containers that end: all but sidecars of its own."""
    spec: Any = template.spec
    return [each.name for each in [*(spec.init_containers or ()), *spec.containers] if each.restart_policy != "Always"]
