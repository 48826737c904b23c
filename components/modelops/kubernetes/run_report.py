"""What a training run reports: a ConfigMap that its publisher fills in, and that Pulumi reads when the Job is done.

A Job has no output that Pulumi could read, its pods have no name that is known. So the component makes an empty
ConfigMap, lets the publisher write into this one object and nothing else, and looks at it after the Job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, with_dependencies
from modelops.kubernetes.access import grant
from modelops.kubernetes.pods import core, name_of

VARIABLE = "MODELOPS_REPORT"
"""Names the ConfigMap to the publisher, as `namespace/name`."""


class RunReport:
    """The ConfigMap `<name>-report`, the right of the pod's ServiceAccount to patch it, and what came to stand in it.

    The publishing container gets `variables`, and it alone the account's token.
    """

    def __init__(
        self,
        name: str,
        namespace: pulumi.Input[str],
        labels: Mapping[str, pulumi.Input[str]],
        account: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        self._name = name
        self._opts = opts
        object_name = f"{name}-report"
        metadata = k8s.meta.v1.ObjectMetaArgs(name=object_name, namespace=namespace, labels=labels)
        self._config_map = core.ConfigMap(
            object_name,
            metadata=metadata,
            # What the publisher wrote is none of Pulumi's business, neither in a diff nor to be taken back.
            opts=merged(opts, ignore_changes=["data"]),
        )
        rule = k8s.rbac.v1.PolicyRuleArgs(
            api_groups=[""], resources=["configmaps"], resource_names=[object_name], verbs=["patch"]
        )
        binding = grant(object_name, metadata, [rule], account, opts)
        place = pulumi.Output.concat(namespace, "/", name_of(self._config_map))
        self.variables: dict[str, pulumi.Input[str]] = {VARIABLE: with_dependencies(place, binding)}

    def outputs(
        self,
        job: pulumi.Resource,
        outcome: pulumi.Output[Any] | None,
        run_id: pulumi.Input[str],
        tracking_url: pulumi.Input[str],
    ) -> tuple[pulumi.Output[Mapping[str, float]], pulumi.Output[str]]:
        """Metrics of the published run, and the address of its page in MLflow at `tracking_url`.

        `outcome` is known once the run has ended, for what Pulumi does not wait for itself. Unknown in a plan that
        would run `job`, since the object's id is only known with the Job's. A report of another run counts for nothing:
        then there are no metrics, and the address is MLflow's own.
        """
        place = self._config_map.metadata.apply(lambda metadata: f"{metadata['namespace']}/{metadata['name']}")
        found = core.ConfigMap.get(
            f"{self._name}-reported",
            pulumi.Output.all(place, _id(job), outcome).apply(lambda known: str(known[0])),
            opts=self._opts,
        )
        mine = pulumi.Output.all(data=found.data, run_id=run_id).apply(
            lambda known: _of_run(known["data"], known["run_id"])
        )
        url = pulumi.Output.all(report=mine, base=tracking_url).apply(
            lambda known: _run_page(known["base"], known["report"])
        )
        return mine.apply(lambda report: dict(report.get("metrics", {}))), url


def _id(job: pulumi.Resource) -> pulumi.Output[str]:
    assert isinstance(job, pulumi.CustomResource)
    return job.id


def _of_run(data: Mapping[str, str] | None, run_id: str) -> dict[str, Any]:
    if not data or data.get("run_id") != run_id:
        return {}
    return {**data, "metrics": json.loads(data.get("metrics", "{}"))}


def _run_page(base: str, report: Mapping[str, Any]) -> str:
    if "mlflow_run_id" not in report:
        return base
    return f"{base.rstrip('/')}/#/experiments/{report['experiment_id']}/runs/{report['mlflow_run_id']}"
