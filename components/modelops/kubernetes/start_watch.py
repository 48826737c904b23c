"""The watch of a Job's start: it fails a Job whose pods can't start, instead of letting it wait for its deadline.

Pulumi waits for the Job itself as without a watch, and for the watch not at all: if that is evicted or can't start
itself, nothing is lost but the early end.

The watches of a namespace have an account in common, and their program. It may patch every Job there, because no role
can name the one that is yet to be created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, whole, with_dependencies
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.jobs import egress_only_policy
from modelops.kubernetes.labels import selecting, standard_labels
from modelops.kubernetes.network import allow_egress, api_server_ports, network_policy
from modelops.kubernetes.placement import anywhere
from modelops.kubernetes.pods import core, name_of
from modelops.kubernetes.shared import once_in_namespace
from modelops.kubernetes.template_hash import template_hash
from modelops.kubernetes.watch import FILE, PROGRAM, Watcher, reading, source, watch_job

KIND = "job-watch"
DEFAULT_SCHEDULING_TIMEOUT_SECONDS = 600

rbac = k8s.rbac.v1


def watch_start(
    name: str,
    jobs: pulumi.Input[str],
    template: core.PodTemplateSpecArgs,
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    watcher: Watcher,
    image: pulumi.Input[str],
    seconds: pulumi.Input[int],
    scheduling_seconds: pulumi.Input[int] = DEFAULT_SCHEDULING_TIMEOUT_SECONDS,
    record: Mapping[str, pulumi.Input[str]] | None = None,
) -> k8s.batch.v1.Job:
    """The Job `<name>-watch`, which has to be there before the Job that the selector `jobs` selects, of `template`.

    It watches for `seconds`, of which a pod may be without a node for `scheduling_seconds`. With `record` it follows
    the run to its end, as a record says (training/background.py).
    """
    settings = {
        **({"kind": "Start"} if record is None else {"kind": "Run", **record}),
        "labels": jobs,
        "unscheduled_seconds": whole(scheduling_seconds),
        # Whatever makes another Job makes another watch.
        "pod": template_hash(template),
    }
    return watch_job(
        name,
        KIND,
        settings,
        watcher,
        # What is watched may be meant for a node that isn't there.
        anywhere(args),
        opts,
        image=image,
        seconds=whole(seconds),
        longest=None,
        # One that records goes on from `up` to `up`; a failed run's new Job gets a new one, for its pods are others.
        again=record is None,
    )


def watched_options(
    name: str,
    labels: Mapping[str, pulumi.Input[str]],
    template: core.PodTemplateSpecArgs,
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    *,
    first: pulumi.Resource,
    image: pulumi.Input[str],
    seconds: pulumi.Input[int],
    scheduling_seconds: pulumi.Input[int] | None = None,
) -> pulumi.ResourceOptions:
    """The options of a Job with these labels, which fails early if its pods can't start. `first` is something that the
    component has made.

    By default a pod may be without a node for ten minutes, but for no more than half of the Job's `seconds`.
    """
    if scheduling_seconds is None:
        scheduling_seconds = whole(seconds).apply(lambda known: min(DEFAULT_SCHEDULING_TIMEOUT_SECONDS, known // 2))
    watch = watch_start(
        name,
        selecting(labels),
        template,
        args,
        opts,
        watcher=shared_watcher(name, args, first, opts),
        image=image,
        seconds=seconds,
        scheduling_seconds=scheduling_seconds,
    )
    return merged(opts, depends_on=[watch])


def shared_watcher(name: str, args: Mapping[str, Any], first: pulumi.Resource, opts: pulumi.ResourceOptions) -> Watcher:
    """The one of the namespace. `first` is something that the component `name` has made."""

    def make(name: str, metadata: k8s.meta.v1.ObjectMetaArgs, own: pulumi.ResourceOptions) -> pulumi.Resource:
        account = service_account(f"{name}-watch", metadata, own)
        return grant(f"{name}-watch", metadata, [failing(), *reading()], name_of(account), own)

    account, allowed = once_in_namespace(name, "job", "watch", (), args["namespace"], first, opts, make)
    volume, after = _program(name, args, first, opts)
    return Watcher(account, volume, [allowed, *after])


def own_watcher(name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions) -> Watcher:
    """One whose account `<name>-watch` may do nothing yet: `allow` it once the Job is there."""
    account = service_account(f"{name}-watch", _metadata(name, args), opts)
    volume, after = _program(name, args, account, opts)
    return Watcher(with_dependencies(f"{name}-watch", account), volume, after)


def allow(
    name: str,
    job: k8s.batch.v1.Job,
    rules: Sequence[rbac.PolicyRuleArgs],
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> None:
    """Lets the watch with an account of its own fail that one `job`, and do what `rules` say."""
    rules = [failing(name_of(job)), *rules, *reading()]
    grant(f"{name}-watch", _metadata(name, args), rules, f"{name}-watch", opts)


def failing(job: pulumi.Input[str] | None = None) -> rbac.PolicyRuleArgs:
    """Finding Jobs, and failing them, or only that one."""
    rule = rbac.PolicyRuleArgs
    if job is None:
        return rule(api_groups=["batch"], resources=["jobs"], verbs=["list", "patch"])
    return rule(api_groups=["batch"], resources=["jobs"], resource_names=[job], verbs=["patch"])


def _metadata(name: str, args: Mapping[str, Any]) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(
        name=f"{name}-watch", namespace=args["namespace"], labels=standard_labels(KIND, KIND, name)
    )


def _program(
    name: str, args: Mapping[str, Any], first: pulumi.Resource, opts: pulumi.ResourceOptions
) -> tuple[core.VolumeArgs, list[pulumi.Input[pulumi.Resource]]]:
    """The volume with the program, and what has to be there before a pod has it: its ConfigMap and a network policy."""

    def make(name: str, metadata: k8s.meta.v1.ObjectMetaArgs, own: pulumi.ResourceOptions) -> pulumi.Resource:
        return core.ConfigMap(f"{name}-watch", metadata=metadata, data={FILE: source()}, opts=own)

    def make_policy(name: str, metadata: k8s.meta.v1.ObjectMetaArgs, own: pulumi.ResourceOptions) -> pulumi.Resource:
        pods: dict[str, pulumi.Input[str]] = {"app.kubernetes.io/name": KIND}
        egress = allow_egress({}, *api_server_ports({}))
        return network_policy(f"{name}-watch", metadata, pods, own, egress=egress)

    namespace = args["namespace"]
    config_map, made = once_in_namespace(name, "job", "watch-program", (), namespace, first, opts, make)
    policy: pulumi.Input[pulumi.Resource]
    if "network" in args:
        policy = egress_only_policy(f"{name}-watch", KIND, name, args, opts, *api_server_ports(args))
    else:
        _, policy = once_in_namespace(name, "job", "watch-egress", (), namespace, first, opts, make_policy)
    return core.VolumeArgs(name=PROGRAM, config_map=core.ConfigMapVolumeSourceArgs(name=config_map)), [made, policy]
