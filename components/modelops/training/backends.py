"""The backends that run a training's pods: Kubernetes' Job, or a controller that the cluster may have.

All of them run the same pods: a JobSet, and the JobSet that Kubeflow Trainer creates, contain one Job of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, plain_or, timeouts
from modelops.kubernetes.crds import require
from modelops.kubernetes.custom_objects import CustomObject
from modelops.kubernetes.pods import name_of
from modelops.kubernetes.watch import UNAWAITED
from modelops.training.args import Backend, Framework, TrainingJobArgs
from modelops.training.checks import MONTH_SECONDS
from modelops.training.job_spec import (
    DEFAULT_QUEUE_TIMEOUT_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    batch,
    is_awaited,
    job_spec,
    select_spec,
    starts_suspended,
)
from modelops.training.pod import Run
from modelops.training.watch import SELECT, allow_watch, is_watched, watch, watch_select

MARGIN_SECONDS = 60
"""How much longer than the Job's deadline Pulumi waits, so that Kubernetes reports the error."""
JOBSET = "jobset.x-k8s.io/v1alpha2"
TRAINER = "trainer.kubeflow.org/v1alpha1"
QUEUE = "kueue.x-k8s.io/v1beta1"
# Immutable in Kubernetes, but the official provider doesn't replace a Job when they change.
_REPLACE_ON = ["spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex", "spec.successPolicy"]


@dataclass(frozen=True)
class Started:
    """A run that was handed to the cluster."""

    resource: pulumi.CustomResource
    name: pulumi.Output[str]
    """Name of the object that runs it."""
    outcome: pulumi.Output[Any] | None
    """Fails if the run failed, for objects whose readiness doesn't show it."""


def requirements(name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Reads what the cluster must have for these arguments, so that a plan already fails if it is missing.

    The resources' names say what is missing, because Pulumi's error only says that a resource does not exist.
    """
    required: list[pulumi.Resource] = []
    apis = {Backend.JOBSET: ("jobsets", JOBSET), Backend.TRAINER: ("trainjobs", TRAINER)}
    if (backend := args.get("backend")) in apis:
        required.append(require(name, *apis[backend], opts))
    if (queue := args.get("queue")) is not None:
        resource_name = f"{name}-needs-kueue-with-the-crd-localqueues.kueue.x-k8s.io-and-its-queue"
        queue_id = pulumi.Output.concat(args["namespace"], "/", queue)
        required.append(k8s.apiextensions.CustomResource.get(resource_name, QUEUE, "LocalQueue", queue_id, opts=opts))
    return required


def start(run: Run, opts: pulumi.ResourceOptions) -> Started:
    """Creates the object that runs the training."""
    backend = run.args.get("backend", Backend.JOB)
    spec, watched = job_spec(run, alone=backend is Backend.JOB), is_watched(run.args)
    started_opts = merged(opts, depends_on=[watch(run, spec, opts)]) if watched else opts
    if backend is Backend.JOBSET:
        return _start_jobset(run, spec, started_opts)
    if backend is Backend.TRAINER:
        return _start_trainer(run, spec, started_opts)
    job = job_of(run.name, run, spec, started_opts)
    if watched and not is_awaited(run.args):
        allow_watch(run, job, opts)
    return Started(job, name_of(job), None)


def select_best(run: Run, sweep: pulumi.Resource, opts: pulumi.ResourceOptions) -> batch.Job:
    """The Job that registers the best run of a sweep, once that is done."""
    name, spec = f"{run.name}-select", select_spec(run, sweep)
    if is_watched(run.args):
        opts = merged(opts, depends_on=[watch_select(name, run, spec, opts)])
    return job_of(name, run, spec, opts, SELECT)


def job_of(
    name: str,
    run: Run,
    spec: batch.JobSpecArgs,
    opts: pulumi.ResourceOptions,
    labels: Mapping[str, str] | None = None,
) -> batch.Job:
    """A Job of this run, with `labels` of its own."""
    # The name is generated. Pulumi removes leftovers of failed replacements only at the end of a successful update, so
    # a name derived from the run's identity would collide with one when a change is reverted, and no further update
    # would succeed.
    # A Job that isn't awaited is unready while it trains: the record of its end says whether another one is needed.
    metadata = _metadata(run, {"pulumi.com/replaceUnready": "true"} if is_awaited(run.args) else UNAWAITED, labels)
    options = merged(_options(opts, run.args), replace_on_changes=_REPLACE_ON)
    return batch.Job(name, metadata=metadata, spec=spec, opts=options)


def _start_jobset(run: Run, spec_of_job: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> Started:
    suspended = starts_suspended(run.args)
    spec = {**_jobset_spec(run, "w", spec_of_job), "suspend": True if suspended else None}
    if (seconds := run.args.get("ttl_seconds_after_finished")) is not None:
        spec["ttlSecondsAfterFinished"] = seconds
    # A failed JobSet has a terminal state too; waiting for success alone would last until the timeout.
    metadata = _metadata(run, {"pulumi.com/waitFor": "jsonpath={.status.terminalState}"})
    options = _options(opts, run.args, replace=not suspended)
    jobset = CustomObject(run.name, JOBSET, "JobSet", metadata, spec, options)
    return Started(jobset, name_of(jobset), jobset.status.apply(lambda status: _jobset_outcome(run.name, status)))


def _jobset_outcome(name: str, status: Mapping[str, Any] | None) -> str:
    """`Completed`. Raises pulumi.RunError with the JobSet's own messages if it failed."""
    status = status or {}
    state = str(status.get("terminal_state") or status.get("terminalState"))
    if state != "Completed":
        messages = [each.get("message", "") for each in status.get("conditions") or [] if each.get("type") == "Failed"]
        raise pulumi.RunError(
            f'TrainingJob "{name}": its JobSet ended as {state}: {" ".join(messages)}. See the logs of its pods; '
            "`pulumi up --replace` with the JobSet's URN runs it again"
        )
    return state


def _start_trainer(run: Run, spec_of_job: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> Started:
    # By this label the Trainer recognises the training's Job, of which it runs one pod per node.
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    template = {"spec": _jobset_spec(run, "node", spec_of_job, step)}
    metadata = _metadata(run, {}, {"trainer.kubeflow.org/framework": Framework(run.args["framework"]).value})
    spec = {"mlPolicy": {"numNodes": run.workers}, "template": template}
    options = merged(opts, replace_on_changes=["spec"])
    runtime = CustomObject(f"{run.name}-runtime", TRAINER, "TrainingRuntime", metadata, spec, options)
    reference = {"apiGroup": TRAINER.partition("/")[0], "kind": "TrainingRuntime", "name": name_of(runtime)}
    suspended = starts_suspended(run.args)
    job = CustomObject(
        run.name,
        TRAINER,
        "TrainJob",
        _metadata(run, {"pulumi.com/waitFor": "condition=Complete"}),
        {"runtimeRef": reference, "trainer": {"numNodes": run.workers}, "suspend": True if suspended else None},
        _options(opts, run.args, replace=not suspended),
    )
    return Started(job, name_of(job), None)


def _jobset_spec(
    run: Run, name: str, job: batch.JobSpecArgs, labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The spec of a JobSet whose only Job is the run's."""
    template = {"metadata": {"labels": {**run.labels(), **(labels or {})}}, "spec": job}
    return {
        # With every backend, our own Service gives the pods their names.
        "network": {"enableDNSHostnames": False},
        "failurePolicy": {"maxRestarts": 0},
        "replicatedJobs": [{"name": name, "replicas": 1, "template": template}],
    }


def _metadata(
    run: Run, annotations: Mapping[str, pulumi.Input[str]], labels: Mapping[str, str] | None = None
) -> k8s.meta.v1.ObjectMetaArgs:
    all_labels = {**run.labels(), **(labels or {})}
    if (queue := run.args.get("queue")) is not None:
        all_labels["kueue.x-k8s.io/queue-name"] = queue
    return k8s.meta.v1.ObjectMetaArgs(
        namespace=run.args["namespace"], labels=all_labels, annotations=annotations or None
    )


def _options(opts: pulumi.ResourceOptions, args: TrainingJobArgs, *, replace: bool = False) -> pulumi.ResourceOptions:
    seconds = plain_or(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS), MONTH_SECONDS) + MARGIN_SECONDS
    suspended = starts_suspended(args)
    if suspended:
        # The deadline counts from the start of the run, which is not up to us.
        seconds += args.get("queue_timeout_seconds", DEFAULT_QUEUE_TIMEOUT_SECONDS)
    return merged(
        opts,
        replace_on_changes=["spec"] if replace else None,
        custom_timeouts=timeouts(seconds),
        ignore_changes=["spec.suspend"] if suspended else None,
    )
