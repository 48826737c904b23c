"""The watch of a release: it waits for a rollout or a smoke test, in the place of Pulumi's provider.

The object itself isn't waited for, and what needs its pods waits for the watch.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import short_hash
from modelops.core.run_id import canonical_json
from modelops.kubernetes.pods import name_of
from modelops.kubernetes.watch import watch_job
from modelops.serving.args import ModelServiceArgs, runtime_image

FINAL_FETCH_CODES = (1, 2)
"""Exit codes of `modelops-fetch` that end a rollout: it tries again itself for as long as that may help."""
_PROGRAM = "rollout-watch"


def watch(
    watched: k8s.apps.v1.Deployment | k8s.batch.v1.Job,
    name: str,
    args: ModelServiceArgs,
    seconds: pulumi.Output[int],
    longest: int,
    opts: pulumi.ResourceOptions,
) -> k8s.batch.v1.Job:
    """The Job `<name>-watch` for a rollout or smoke test that may take so many seconds, at most `longest`."""
    target = name_of(watched)
    kind = "Job" if isinstance(watched, k8s.batch.v1.Job) else "Deployment"
    settings = {
        "kind": kind,
        "name": target,
        "deadline_seconds": seconds,
        # As the API server has it, so with whatever a transformation or a webhook did to it.
        "release": pulumi.Output.all(watched.id, watched.spec, "autoscaling" in args).apply(_release),
        "final_exit_codes": {} if "fetch_command" in args else {"fetch": FINAL_FETCH_CODES},
    }
    return watch_job(
        name,
        _PROGRAM,
        settings,
        _rules(kind, target),
        args,
        opts,
        image=runtime_image(args),
        seconds=seconds,
        longest=longest,
    )


def _release(values: Any) -> str:
    """Tells one state of a Deployment or Job from another. Replicas that belong to an autoscaler are left out."""
    identity, spec, autoscaled = values
    own = {key: value for key, value in spec.items() if not (autoscaled and key == "replicas")}
    return short_hash(identity, canonical_json(own))


def _rules(kind: str, name: pulumi.Input[str]) -> list[k8s.rbac.v1.PolicyRuleArgs]:
    """Reading the one object."""
    rule, named = k8s.rbac.v1.PolicyRuleArgs, [name]
    if kind == "Job":
        return [rule(api_groups=["batch"], resources=["jobs"], resource_names=named, verbs=["get"])]
    return [
        rule(api_groups=["apps"], resources=["deployments"], resource_names=named, verbs=["get"]),
        rule(api_groups=["apps"], resources=["replicasets"], verbs=["list"]),
    ]
