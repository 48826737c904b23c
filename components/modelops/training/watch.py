"""The watch of a run: of its start or, where Pulumi doesn't wait for it, to its end, which it records for the next
`pulumi up`."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import whole
from modelops.kubernetes.labels import selecting
from modelops.kubernetes.start_watch import (
    DEFAULT_SCHEDULING_TIMEOUT_SECONDS,
    allow,
    own_watcher,
    shared_watcher,
    watch_start,
)
from modelops.training.args import TrainingJobArgs
from modelops.training.job_spec import DEFAULT_QUEUE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS, batch, is_awaited
from modelops.training.pod import Run

SELECT = {"modelops.dev/step": "select"}
"""Tells a sweep's Job that registers the best run from the Job of the runs."""


def is_watched(args: TrainingJobArgs) -> bool:
    """Whether a Job watches the start of the run: in an image that the run needs anyway."""
    own_image_only = "command" in (args.get("publisher") or {}) and "runtime_image" not in args
    return args.get("watch", True) and not own_image_only


def watch(run: Run, spec: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> k8s.batch.v1.Job:
    """The Job `<name>-watch`, which has to be there before the Job with that `spec`."""
    args, awaited = run.args, is_awaited(run.args)
    return watch_start(
        run.name,
        run.selector(),
        spec.template,  # type: ignore[arg-type]
        args,
        opts,
        # One that records is told its Job: nobody waits for that, so its name is known at once.
        watcher=shared_watcher(run.name, args, run.report.resource, opts)
        if awaited
        else own_watcher(run.name, args, opts),
        image=args.get("runtime_image", UPSTREAM_IMAGES["mlflow"]),
        seconds=_seconds(args),
        scheduling_seconds=args.get("scheduling_timeout_seconds", DEFAULT_SCHEDULING_TIMEOUT_SECONDS),
        record=None if awaited else {"run": run.run_id, "record": run.report.config_map},
    )


def watch_select(name: str, run: Run, spec: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> k8s.batch.v1.Job:
    """The Job `<name>-watch` of a sweep's Job that registers the best run, with that `spec`."""
    return watch_start(
        name,
        pulumi.Output.concat(run.selector(), ",", selecting(SELECT)),
        spec.template,  # type: ignore[arg-type]
        run.args,
        opts,
        watcher=shared_watcher(name, run.args, run.report.resource, opts),
        image=run.args.get("runtime_image", UPSTREAM_IMAGES["mlflow"]),
        seconds=_seconds(run.args),
        scheduling_seconds=run.args.get("scheduling_timeout_seconds", DEFAULT_SCHEDULING_TIMEOUT_SECONDS),
    )


def _seconds(args: TrainingJobArgs) -> pulumi.Output[int]:
    """How long a Job of the run may take."""
    queue = args.get("queue_timeout_seconds", DEFAULT_QUEUE_TIMEOUT_SECONDS)
    return whole(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)).apply(lambda seconds: seconds + queue)


def allow_watch(run: Run, job: batch.Job, opts: pulumi.ResourceOptions) -> None:
    """Lets the watch of a run that isn't awaited find its Jobs, fail the one and record what becomes of it."""
    rule = k8s.rbac.v1.PolicyRuleArgs
    rules = [
        rule(api_groups=["batch"], resources=["jobs"], verbs=["list"]),
        rule(api_groups=[""], resources=["configmaps"], resource_names=[run.report.config_map], verbs=["patch"]),
    ]
    allow(run.name, job, rules, run.args, opts)
