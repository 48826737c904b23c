"""What runs a training's pods: Kubernetes' Job, or a controller that a cluster may have beside it.

All of them run the very same pods: a JobSet, and the JobSet that Kubeflow Trainer makes, hold one Job of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes import _utilities

from modelops.core.outputs import merged, timeouts
from modelops.kubernetes.crds import require
from modelops.kubernetes.pods import name_of
from modelops.training.args import Backend, Framework, TrainingJobArgs
from modelops.training.job_spec import DEFAULT_TIMEOUT_SECONDS, batch, job_spec, starts_suspended
from modelops.training.pod import Run

DEFAULT_QUEUE_TIMEOUT_SECONDS = 86_400
MARGIN_SECONDS = 60
"""How much longer Pulumi waits than Kubernetes lets the Job run, so that the error is Kubernetes' own."""
JOBSET = "jobset.x-k8s.io/v1alpha2"
TRAINER = "trainer.kubeflow.org/v1alpha1"
QUEUE = "kueue.x-k8s.io/v1beta1"
# Immutable in Kubernetes, and not among the fields on which the official provider replaces a Job.
_REPLACE_ON = ["spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex", "spec.successPolicy"]


@dataclass(frozen=True)
class Started:
    """A run that was given to the cluster."""

    resource: pulumi.CustomResource
    name: pulumi.Output[str]
    """Name of the object that runs it."""
    outcome: pulumi.Output[Any] | None
    """Fails when the run has failed, where waiting for the object does not tell."""


class _Custom(pulumi.CustomResource):
    """An object of a kind that the Kubernetes SDK has no class for, with its status."""

    def __init__(
        self, name: str, api_version: str, kind: str, metadata: Any, spec: Any, opts: pulumi.ResourceOptions
    ) -> None:
        opts = pulumi.ResourceOptions.merge(_utilities.get_resource_opts_defaults(), opts)
        props = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": None}
        super().__init__(f"kubernetes:{api_version}:{kind}", name, props, opts)

    @property
    def metadata(self) -> pulumi.Output[Any]:
        """The object's metadata."""
        return pulumi.Output.from_input(self.__dict__["metadata"])

    @property
    def status(self) -> pulumi.Output[Any]:
        """The object's status."""
        return pulumi.Output.from_input(self.__dict__["status"])


def requirements(name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Reads what must be in the cluster for what was asked for, so that a plan already fails where it is not.

    The resources' names say what is missing, because Pulumi's error is just that a resource does not exist.
    """
    found: list[pulumi.Resource] = []
    apis = {Backend.JOBSET: ("jobsets", JOBSET), Backend.TRAINER: ("trainjobs", TRAINER)}
    if (backend := args.get("backend")) in apis:
        found.append(require(name, *apis[backend], opts))
    if (queue := args.get("queue")) is not None:
        label = f"{name}-needs-kueue-with-the-crd-localqueues.kueue.x-k8s.io-and-its-queue"
        place = pulumi.Output.concat(args["namespace"], "/", queue)
        found.append(k8s.apiextensions.CustomResource.get(label, QUEUE, "LocalQueue", place, opts=opts))
    return found


def start(run: Run, opts: pulumi.ResourceOptions) -> Started:
    """Creates what runs the training."""
    backend = run.args.get("backend", Backend.JOB)
    if backend is Backend.JOBSET:
        return _start_jobset(run, opts)
    if backend is Backend.TRAINER:
        return _start_trainer(run, opts)
    job = job_of(run.name, run, job_spec(run), opts)
    return Started(job, name_of(job), None)


def job_of(name: str, run: Run, spec: batch.JobSpecArgs, opts: pulumi.ResourceOptions) -> batch.Job:
    """A Job of this run."""
    options = _options(opts, run.args)
    options = merged(options, replace_on_changes=_REPLACE_ON)
    # No name of its own making: Pulumi removes what failed replacements left only at the end of an update that goes
    # through, so a name made from the run's identity would meet its older self when a change is taken back, and the
    # update would fail for ever.
    metadata = _metadata(run, {"pulumi.com/replaceUnready": "true"})
    return batch.Job(name, metadata=metadata, spec=spec, opts=options)


def _start_jobset(run: Run, opts: pulumi.ResourceOptions) -> Started:
    held = starts_suspended(run.args)
    spec = {**_set_of_one_job(run, "w"), "suspend": True if held else None}
    if (seconds := run.args.get("ttl_seconds_after_finished")) is not None:
        spec["ttlSecondsAfterFinished"] = seconds
    # What ended badly has a terminal state too: waiting for the good one alone would last until the timeout.
    metadata = _metadata(run, {"pulumi.com/waitFor": "jsonpath={.status.terminalState}"})
    options = _options(opts, run.args, replace=not held)
    jobset = _Custom(run.name, JOBSET, "JobSet", metadata, spec, options)
    return Started(jobset, name_of(jobset), jobset.status.apply(lambda status: _judge(run.name, status)))


def _judge(name: str, status: Mapping[str, Any] | None) -> str:
    """`Completed`. Raises for a JobSet that has failed, with what it says of itself."""
    status = status or {}
    state = str(status.get("terminal_state") or status.get("terminalState"))
    if state != "Completed":
        said = [each.get("message", "") for each in status.get("conditions") or [] if each.get("type") == "Failed"]
        raise pulumi.RunError(
            f'TrainingJob "{name}": its JobSet ended as {state}: {" ".join(said)}. the logs of its pods say more; '
            f"`pulumi up --replace` with the JobSet's URN runs it again"
        )
    return state


def _start_trainer(run: Run, opts: pulumi.ResourceOptions) -> Started:
    # The Trainer knows the Job of the training by this label, and starts it as often as it has nodes.
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    template = {"spec": _set_of_one_job(run, "node", step)}
    metadata = _metadata(run, {}, {"trainer.kubeflow.org/framework": Framework(run.args["framework"]).value})
    spec = {"mlPolicy": {"numNodes": run.workers}, "template": template}
    options = merged(opts, replace_on_changes=["spec"])
    runtime = _Custom(f"{run.name}-runtime", TRAINER, "TrainingRuntime", metadata, spec, options)
    reference = {"apiGroup": TRAINER.partition("/")[0], "kind": "TrainingRuntime", "name": name_of(runtime)}
    held = starts_suspended(run.args)
    job = _Custom(
        run.name,
        TRAINER,
        "TrainJob",
        _metadata(run, {"pulumi.com/waitFor": "condition=Complete"}),
        {"runtimeRef": reference, "trainer": {"numNodes": run.workers}, "suspend": True if held else None},
        _options(opts, run.args, replace=not held),
    )
    return Started(job, name_of(job), None)


def _set_of_one_job(run: Run, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The specification of a JobSet whose only Job is the run's own."""
    template = {"metadata": {"labels": {**run.labels(), **(labels or {})}}, "spec": job_spec(run, alone=False)}
    return {
        # Pods have names by our own Service, the same with every back end.
        "network": {"enableDNSHostnames": False},
        "failurePolicy": {"maxRestarts": 0},
        "replicatedJobs": [{"name": name, "replicas": 1, "template": template}],
    }


def _metadata(
    run: Run, annotations: Mapping[str, str], labels: Mapping[str, str] | None = None
) -> k8s.meta.v1.ObjectMetaArgs:
    own = {**run.labels(), **(labels or {})}
    if (queue := run.args.get("queue")) is not None:
        own["kueue.x-k8s.io/queue-name"] = queue
    return k8s.meta.v1.ObjectMetaArgs(namespace=run.args["namespace"], labels=own, annotations=annotations)


def _options(opts: pulumi.ResourceOptions, args: TrainingJobArgs, *, replace: bool = False) -> pulumi.ResourceOptions:
    seconds = args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS) + MARGIN_SECONDS
    held = starts_suspended(args)
    if held:
        # The deadline counts from the start, and who starts the run is not us.
        seconds += args.get("queue_timeout_seconds", DEFAULT_QUEUE_TIMEOUT_SECONDS)
    return merged(
        opts,
        replace_on_changes=["spec"] if replace else None,
        custom_timeouts=timeouts(seconds),
        ignore_changes=["spec.suspend"] if held else None,
    )
