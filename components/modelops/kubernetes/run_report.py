"""The report of a training run: a ConfigMap that its publisher fills in and that Pulumi reads once the Job is done.

A Job has no output that Pulumi could read, and its pods have generated names. So the component creates an empty
ConfigMap, lets the publisher patch this object and nothing else, and reads it after the Job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import known_or_none, merged, with_dependencies
from modelops.kubernetes.access import grant
from modelops.kubernetes.pods import core, name_of

VARIABLE = "MODELOPS_REPORT"
"""Environment variable that gives the publisher the ConfigMap as `namespace/name`."""


class RunReport:
    """The ConfigMap `<name>-report`, the permission of the pod's ServiceAccount to patch it, and its content. The
    account may do what further `rules` say, too.

    The publishing container gets `variables`, and it alone gets the account's token. The ConfigMap is called
    `config_map`.
    """

    def __init__(
        self,
        name: str,
        namespace: pulumi.Input[str],
        labels: Mapping[str, pulumi.Input[str]],
        account: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
        *rules: k8s.rbac.v1.PolicyRuleArgs,
    ) -> None:
        self._name = name
        self._opts = opts
        self.config_map = object_name = f"{name}-report"
        metadata = k8s.meta.v1.ObjectMetaArgs(name=object_name, namespace=namespace, labels=labels)
        self.resource = core.ConfigMap(
            object_name,
            metadata=metadata,
            # Pulumi must neither show nor revert what the publisher wrote.
            opts=merged(opts, ignore_changes=["data"]),
        )
        rule = k8s.rbac.v1.PolicyRuleArgs(
            api_groups=[""], resources=["configmaps"], resource_names=[object_name], verbs=["patch"]
        )
        self.binding = grant(object_name, metadata, [rule, *rules], account, opts)
        self._id = pulumi.Output.concat(namespace, "/", name_of(self.resource))
        self.variables: dict[str, pulumi.Input[str]] = {VARIABLE: with_dependencies(self._id, self.binding)}

    def outputs(
        self,
        job: pulumi.CustomResource,
        outcome: pulumi.Output[Any] | None,
        run_id: pulumi.Input[str],
        tracking_url: pulumi.Input[str],
    ) -> tuple[pulumi.Output[Mapping[str, float]], pulumi.Output[str]]:
        """Metrics of the published run, and the URL of its page in MLflow at `tracking_url`.

        `outcome` is known once a run has ended for which Pulumi does not wait by itself. Both results are unknown in a
        plan that would run `job`, because they depend on the Job's id. A report of another run is ignored: there are
        then no metrics, and the URL is MLflow's own.
        """
        reported = core.ConfigMap.get(
            f"{self._name}-reported",
            pulumi.Output.all(self._id, job.id, outcome).apply(lambda values: str(values[0])),
            opts=self._opts,
        )
        return outputs_of(reported.data, run_id, tracking_url)

    def recorded(self) -> pulumi.Output[Mapping[str, str]]:
        """What the ConfigMap says before anything else is made: nothing where it is yet to be created."""
        found = core.ConfigMap.get(
            f"{self._name}-recorded",
            pulumi.Output.all(self._id, self.resource.id).apply(lambda values: str(values[0])),
            opts=self._opts,
        )
        return known_or_none(found.data).apply(lambda data: data or {})


def outputs_of(
    data: pulumi.Input[Mapping[str, str] | None], run_id: pulumi.Input[str], tracking_url: pulumi.Input[str]
) -> tuple[pulumi.Output[Mapping[str, float]], pulumi.Output[str]]:
    """Metrics and page of the run `run_id`, by the ConfigMap's `data`."""
    report = pulumi.Output.all(data, run_id).apply(lambda values: _report_of(*values))
    url = pulumi.Output.all(tracking_url, report).apply(lambda values: _run_url(*values))
    return report.apply(lambda content: dict(content.get("metrics", {}))), url


def _report_of(data: Mapping[str, str] | None, run_id: str) -> dict[str, Any]:
    if not data or data.get("run_id") != run_id:
        return {}
    return {**data, "metrics": json.loads(data.get("metrics", "{}"))}


def _run_url(base: str, report: Mapping[str, Any]) -> str:
    if "mlflow_run_id" not in report:
        return base
    return f"{base.rstrip('/')}/#/experiments/{report['experiment_id']}/runs/{report['mlflow_run_id']}"
