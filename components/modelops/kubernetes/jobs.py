"""What Jobs have in common: the network policy of those that only reach out, and the pod failure policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_egress, net, network_policy

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


def failure_policy(*, final: Sequence[int], uncounted: Sequence[int]) -> batch.PodFailurePolicyArgs:
    """Which exit codes fail the Job at once (`final`) and which don't count. Disruptions never count.

    Pass no `final` codes for a Job without retries, which fails anyway: the official Kubernetes provider doesn't notice
    a Job that its policy failed, so `pulumi up` would wait until its own timeout.
    """
    codes = batch.PodFailurePolicyOnExitCodesRequirementArgs
    disrupted = batch.PodFailurePolicyOnPodConditionsPatternArgs(type="DisruptionTarget", status="True")
    rules = [
        batch.PodFailurePolicyRuleArgs(action="Ignore", on_pod_conditions=[disrupted]),
        batch.PodFailurePolicyRuleArgs(action="Ignore", on_exit_codes=codes(operator="In", values=list(uncounted))),
    ]
    if final:
        on_exit_codes = codes(operator="In", values=list(final))
        rules.insert(0, batch.PodFailurePolicyRuleArgs(action="FailJob", on_exit_codes=on_exit_codes))
    return batch.PodFailurePolicyArgs(rules=rules)
