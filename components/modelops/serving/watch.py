"""The watch: a Job that waits for a rollout or a smoke test, and fails with the reason as soon as it can't succeed.

Pulumi's provider would wait for the Deployment until a deadline, and sees no init container, Secret or node. So the
object isn't waited for, and what needs its pods waits for the watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.naming import job_name
from modelops.core.outputs import merged, short_hash, timeouts, with_dependencies
from modelops.core.run_id import canonical_json
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.jobs import STOPPED, egress_only_policy, failure_policy
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.network import API_SERVER_PORTS
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    field_variable,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
)
from modelops.serving.args import ModelServiceArgs, runtime_image

FINAL_FETCH_CODES = (1, 2)
"""Exit codes of `modelops-fetch` that end a rollout: it tries again itself for as long as that may help."""
MARGIN_SECONDS = 30
_PROGRAM = "rollout-watch"
_DEFAULT_RESOURCES = DefaultResources(cpu="10m", memory="32Mi", memory_limit="96Mi")


UNAWAITED: Mapping[str, pulumi.Input[str]] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Annotations of what is watched: true at once. `skipAwait` would leave out the wait for the deletion too."""


def watch(
    watched: k8s.apps.v1.Deployment | k8s.batch.v1.Job,
    name: str,
    args: ModelServiceArgs,
    seconds: pulumi.Output[int],
    longest: int,
    opts: pulumi.ResourceOptions,
) -> k8s.batch.v1.Job:
    """The Job `<name>-watch` for a rollout or smoke test that may take so many seconds, and never more than `longest`.

    Pulumi names it, since whatever changes what is watched makes a new Job.
    """
    namespace, program = args["namespace"], f"{name}-watch"
    target = name_of(watched)
    kind = "Job" if isinstance(watched, k8s.batch.v1.Job) else "Deployment"
    labels = standard_labels(_PROGRAM, _PROGRAM, name)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=program, namespace=namespace, labels=labels)
    account = service_account(program, metadata, opts)
    binding = grant(program, metadata, _rules(kind, target), name_of(account), opts)
    egress_only_policy(program, _PROGRAM, name, namespace, opts, *API_SERVER_PORTS)
    settings = {
        "namespace": namespace,
        "kind": kind,
        "name": target,
        "deadline_seconds": seconds,
        # As the API server has it, so with whatever a transformation or a webhook did to it.
        "release": pulumi.Output.all(watched.id, watched.spec, "autoscaling" in args).apply(_release),
        "final_exit_codes": {} if "fetch_command" in args else {"fetch": FINAL_FETCH_CODES},
    }
    watcher = container(
        "watch",
        runtime_image(args),
        variables={"MODELOPS_WATCH": pulumi.Output.json_dumps(settings, sort_keys=True)},
        secrets=[
            field_variable("MODELOPS_JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
            field_variable("MODELOPS_JOB_UID", "metadata.labels['batch.kubernetes.io/controller-uid']"),
        ],
        command=["python3", "-c", asset("serving/assets/watch.py")],
        resources=resource_requirements(None, _DEFAULT_RESOURCES),
        volume_mounts=[mount("tmp", "/tmp")],
    )
    account_name = with_dependencies(program, account, binding)
    template = pod_template(
        labels, account_name, [watcher], args, token=True, restart_policy="Never", volumes=[scratch()]
    )
    return k8s.batch.v1.Job(
        job_name(program),
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace,
            labels=labels,
            annotations={
                # The next `pulumi up` looks at a failed rollout again, by a new Job.
                "pulumi.com/replaceUnready": "true",
                # Nobody needs to wait for the pod of the release before to be gone.
                "pulumi.com/deletionPropagationPolicy": "background",
            },
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=seconds.apply(lambda known: known + MARGIN_SECONDS),
            pod_failure_policy=failure_policy(final=(), uncounted=(STOPPED,)),
            template=template,
        ),
        opts=merged(opts, custom_timeouts=timeouts(longest + 2 * MARGIN_SECONDS)),
    )


def _release(values: Any) -> str:
    """Tells one state of a Deployment or Job from another. Replicas that belong to an autoscaler are left out."""
    identity, spec, autoscaled = values
    own = {key: value for key, value in spec.items() if not (autoscaled and key == "replicas")}
    return short_hash(identity, canonical_json(own))


def _rules(kind: str, name: pulumi.Input[str]) -> list[k8s.rbac.v1.PolicyRuleArgs]:
    """Reading the one object and the pods, and recording events."""
    rule, named = k8s.rbac.v1.PolicyRuleArgs, [name]
    if kind == "Job":
        objects = [rule(api_groups=["batch"], resources=["jobs"], resource_names=named, verbs=["get"])]
    else:
        objects = [
            rule(api_groups=["apps"], resources=["deployments"], resource_names=named, verbs=["get"]),
            rule(api_groups=["apps"], resources=["replicasets"], verbs=["list"]),
        ]
    return [
        *objects,
        rule(api_groups=[""], resources=["pods"], verbs=["list"]),
        rule(api_groups=[""], resources=["events"], verbs=["list", "create"]),
    ]
