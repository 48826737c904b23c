"""The watch: a Job with a small account that looks at what Kubernetes says about pods, and ends a wait for them early.

Pulumi's provider waits for an object until a deadline, and sees no init container, Secret or node. The program,
assets/watch.py, sees them, tells what is waited for, and fails with the reason as soon as the wait is in vain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.naming import job_name
from modelops.core.outputs import merged, timeouts, with_dependencies
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.jobs import STOPPED, egress_only_policy, failure_policy
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.network import api_server_ports
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    field_variable,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
)

MARGIN_SECONDS = 30
PROGRAM, FILE, FOLDER = "program", "watch.py", "/opt/modelops-watch"
"""Of the program, where it isn't in the command: its volume, and where that is mounted."""
WATCH_RESOURCES = DefaultResources(cpu="10m", memory="32Mi", memory_limit="96Mi")

_UNMESHED = {"sidecar.istio.io/inject": "false"}, {"linkerd.io/inject": "disabled"}
"""Labels and annotations of its pod, which asks the API server alone: a mesh's sidecar would keep its Job from ever
completing, for which Pulumi waits."""
UNAWAITED: Mapping[str, pulumi.Input[str]] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
"""Annotations of an object that Pulumi doesn't wait for: true at once. `skipAwait` would leave out the wait for the
deletion too."""


@dataclass(frozen=True)
class Watcher:
    """What a watch runs as."""

    account: pulumi.Input[str]
    """Its ServiceAccount, which may do what it has to."""
    program: core.VolumeArgs | None = None
    """The volume `program` with the program; without one it is in the command."""
    after: Sequence[pulumi.Input[pulumi.Resource]] = ()
    """What it waits for before it starts."""


def watcher(
    name: str,
    kind: str,
    rules: Sequence[k8s.rbac.v1.PolicyRuleArgs],
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> Watcher:
    """One of its own for the watch `<name>-watch`. It may do what `rules` say, read the namespace's pods and events,
    and record events."""
    program = f"{name}-watch"
    metadata = k8s.meta.v1.ObjectMetaArgs(
        name=program, namespace=args["namespace"], labels=standard_labels(kind, kind, name)
    )
    account = service_account(program, metadata, opts)
    binding = grant(program, metadata, [*rules, *reading()], name_of(account), opts)
    egress_only_policy(program, kind, name, args, opts, *api_server_ports(args))
    return Watcher(with_dependencies(program, account, binding))


def watch_job(
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    watcher: Watcher,
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    image: pulumi.Input[str],
    seconds: pulumi.Output[int],
    longest: int | None,
    again: bool = True,
) -> k8s.batch.v1.Job:
    """The Job `<name>-watch` of the program `kind`, for at most so many seconds, scheduled as `args` say.

    Pulumi names it, since whatever changes what is watched makes a new Job. `longest` is how long Pulumi waits for it;
    None: not at all. With `again` the next `pulumi up` makes a new Job of one that failed, or has not ended.
    """
    namespace, program = args["namespace"], watcher.program
    labels = standard_labels(kind, kind, name)
    mounts = [mount("tmp", "/tmp")]
    if program is not None:
        mounts.append(mount(PROGRAM, FOLDER, read_only=True))
    watch = container(
        "watch",
        image,
        variables={"MODELOPS_WATCH": pulumi.Output.json_dumps({"namespace": namespace, **settings}, sort_keys=True)},
        secrets=[
            field_variable("MODELOPS_JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
            field_variable("MODELOPS_JOB_UID", "metadata.labels['batch.kubernetes.io/controller-uid']"),
        ],
        command=["python3", *(["-c", source()] if program is None else [f"{FOLDER}/{FILE}"])],
        resources=resource_requirements(args.get("helper_resources"), WATCH_RESOURCES),
        volume_mounts=mounts,
    )
    unmeshed, annotations = _UNMESHED
    template = pod_template(
        {**labels, **unmeshed},
        watcher.account,
        [watch],
        args,
        annotations=annotations,
        token=True,
        restart_policy="Never",
        volumes=[scratch(), *([] if program is None else [program])],
    )
    opts = merged(opts, depends_on=list(watcher.after))
    return k8s.batch.v1.Job(
        job_name(f"{name}-watch"),
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=namespace,
            labels=labels,
            annotations={
                **({"pulumi.com/replaceUnready": "true"} if again else {}),
                # Nobody needs to wait for the pod of the watch before to be gone.
                "pulumi.com/deletionPropagationPolicy": "background",
                **(UNAWAITED if longest is None else {}),
            },
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=seconds.apply(lambda known: known + MARGIN_SECONDS),
            pod_failure_policy=failure_policy(template, final=(), uncounted=(STOPPED,)),
            template=template,
        ),
        opts=opts if longest is None else merged(opts, custom_timeouts=timeouts(longest + 2 * MARGIN_SECONDS)),
    )


def source() -> str:
    """The program."""
    return asset("kubernetes/assets/watch.py")


def reading() -> list[k8s.rbac.v1.PolicyRuleArgs]:
    """What every watch has to read, and what it says."""
    rule = k8s.rbac.v1.PolicyRuleArgs
    return [
        rule(api_groups=[""], resources=["pods"], verbs=["list"]),
        rule(api_groups=[""], resources=["events"], verbs=["list", "create"]),
    ]
