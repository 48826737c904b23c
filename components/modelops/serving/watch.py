"""The watch of a release: it waits for a rollout or a smoke test, in the place of Pulumi's provider.

The object itself isn't waited for, and what needs its pods waits for the watch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import short_hash
from modelops.core.run_id import canonical_json
from modelops.kubernetes.custom_objects import CustomObject
from modelops.kubernetes.pods import name_of
from modelops.kubernetes.watch import watch_job, watcher
from modelops.serving.args import ModelServiceArgs, runtime_image
from modelops.serving.vllm import LWS

FINAL_FETCH_CODES = (1, 2)
"""Exit codes of `modelops-fetch` that end a rollout: it tries again itself for as long as that may help."""
_PROGRAM = "rollout-watch"


def watch(
    watched: k8s.apps.v1.Deployment | k8s.batch.v1.Job | CustomObject,
    name: str,
    args: ModelServiceArgs,
    seconds: pulumi.Output[int],
    longest: int,
    opts: pulumi.ResourceOptions,
) -> k8s.batch.v1.Job:
    """The Job `<name>-watch` for a rollout or smoke test that may take so many seconds, at most `longest`."""
    target = name_of(watched)
    kind = "LeaderWorkerSet" if isinstance(watched, CustomObject) else type(watched).__name__
    # As the API server has it, so with whatever a transformation or a webhook did to it. It is read on its own: joined
    # with other outputs, Pulumi would take apart objects whose fields are named as a dictionary's methods (`values`).
    spec: pulumi.Output[str] = watched.spec.apply(partial(_own, autoscaled="autoscaling" in args))
    settings = {
        "kind": kind,
        "name": target,
        "deadline_seconds": seconds,
        "release": pulumi.Output.all(watched.id, spec).apply(lambda values: short_hash(*values)),
        "final_exit_codes": {} if "fetch_command" in args else {"fetch": FINAL_FETCH_CODES},
    }
    return watch_job(
        name,
        _PROGRAM,
        settings,
        watcher(name, _PROGRAM, _rules(kind, target), args, opts),
        args,
        opts,
        image=runtime_image(args),
        seconds=seconds,
        longest=longest,
    )


def _own(spec: Mapping[str, Any], *, autoscaled: bool) -> str:
    """What tells one state of a Deployment or Job from another. Replicas that an autoscaler counts are left out."""
    return canonical_json({key: value for key, value in spec.items() if not (autoscaled and key == "replicas")})


def _rules(kind: str, name: pulumi.Input[str]) -> list[k8s.rbac.v1.PolicyRuleArgs]:
    """Reading the one object."""
    rule, named = k8s.rbac.v1.PolicyRuleArgs, [name]
    if kind == "Job":
        return [rule(api_groups=["batch"], resources=["jobs"], resource_names=named, verbs=["get"])]
    if kind == "LeaderWorkerSet":
        group = LWS.partition("/")[0]
        return [
            rule(api_groups=[group], resources=["leaderworkersets"], resource_names=named, verbs=["get"]),
            rule(api_groups=["apps"], resources=["statefulsets"], verbs=["list"]),
        ]
    return [
        rule(api_groups=["apps"], resources=["deployments"], resource_names=named, verbs=["get"]),
        rule(api_groups=["apps"], resources=["replicasets"], verbs=["list"]),
    ]
