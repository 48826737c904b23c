"""TrainingJob: a training run as an immutable Kubernetes Job that publishes a model version."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import arguments_in_one, child_options
from modelops.core.naming import objects_name
from modelops.core.outputs import merged, register_declared_outputs, with_dependencies
from modelops.core.run_id import TRAINING_TOKEN, canonical_json, image_digest, run_id
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.pods import core
from modelops.kubernetes.run_report import RunReport
from modelops.kubernetes.runtime import lasting_runtime
from modelops.kubernetes.volumes import optional_claim
from modelops.kubernetes.workers import closed_network_policy, names_of_workers, worker_network_policy
from modelops.training.args import Framework, TrainingJobArgs
from modelops.training.backends import requirements, select_best, start
from modelops.training.background import Background
from modelops.training.base_model import with_base
from modelops.training.checks import checked
from modelops.training.gates import announce_gate
from modelops.training.job_spec import is_awaited
from modelops.training.pod import COMPONENT, Run, scripts
from modelops.training.sweep import goal, trials

rbac = k8s.rbac.v1


class TrainingJob(pulumi.ComponentResource):
    """Trains a model once for each distinct set of inputs, checks its gate and registers it as a version in MLflow.

    Unchanged inputs run nothing. A changed input makes a new Job, named `<name>-<8 hex digits>` and labelled with
    the run's identity; the old one is removed only after the new one is done. The next `pulumi up` replaces a failed
    Job with a new one. A Job whose run is already published ends without training. With `wait: false`, `pulumi up` ends
    while the run goes on, and a later one takes what it has published.
    """

    run_id: pulumi.Output[str]
    """Identity of the run: twelve hex digits that change with image, command, parameters, data or framework."""
    model_uri: pulumi.Output[str]
    """`models:/<model_name>@run-<run_id>`, the registered version. Resources that use it wait for the training."""
    model_version: pulumi.Output[str]
    """`run-<run_id>`, the registered version's alias."""
    job_name: pulumi.Output[str]
    """Name of the Kubernetes Job, JobSet or TrainJob."""
    metrics: pulumi.Output[Mapping[str, float]]
    """Metrics of the published model by name. Not known until the run is done."""
    run_url: pulumi.Output[str]
    """Address of the run's page in MLflow. Not known until the run is done."""

    @arguments_in_one
    def __init__(self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = with_base(checked(name, args))
        super().__init__("modelops:index:TrainingJob", name, None, opts)
        announce_gate(args, self)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        self.run_id = _run_id(args)
        labels = standard_labels(COMPONENT, COMPONENT, name)
        commands = ("publish", "watch", "select", *(("language_models.base",) if "base_model" in args else ()))
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
        account = service_account(name, metadata, child_opts, args)
        programs, volume = lasting_runtime(COMPONENT, account, args["namespace"], commands, scripts(), child_opts)
        run = _prerequisites(name, args, self.run_id, account, volume, child_opts)
        background = None if is_awaited(args) else Background(run.report, args, self.run_id)
        if background is not None:
            background.announce(self)
            run = replace(run, annotations=background.annotations)
        closed = closed_network_policy(COMPONENT, name, args["namespace"], account, child_opts)
        job_opts = merged(child_opts, depends_on=[programs, closed])
        started = start(run, job_opts)
        publisher = started.resource
        if run.trials:
            publisher = select_best(run, started.resource, job_opts)
        self.job_name = started.name
        tracking_url = args.get("tracking_url", args["tracking_uri"])
        if background is not None:
            self.model_version, self.model_uri = background.version, background.model_uri
            self.metrics, self.run_url = background.outputs(tracking_url)
        else:
            self.model_version = with_dependencies(run.version, publisher, outcome=started.outcome)
            self.model_uri = pulumi.Output.concat("models:/", args["model_name"], "@", self.model_version)
            self.metrics, self.run_url = run.report.outputs(publisher, started.outcome, self.run_id, tracking_url)
        register_declared_outputs(self)


def _run_id(args: TrainingJobArgs) -> pulumi.Output[str]:
    sweep: dict[str, Any] | None = None
    if "sweep" in args:
        sweep = {"values": args["sweep"], "metric": args["sweep_metric"], "goal": goal(args)}
    return pulumi.Output.all(
        image_digest=pulumi.Output.from_input(args["image"]).apply(image_digest),
        command=args.get("command") or list(TRAINING_TOKEN),
        parameters=args.get("parameters") or {},
        data_uri=args.get("data_uri", ""),
        data_version=args.get("data_version", ""),
        sweep=sweep,
    ).apply(
        lambda values: run_id(
            **values,
            framework=Framework(args["framework"]).value,
            workers=args.get("workers", 1),
            processes_per_worker=args.get("processes_per_worker", 1),
            tensor_parallel=args.get("tensor_parallel", 1),
        )
    )


def _prerequisites(
    name: str,
    args: TrainingJobArgs,
    run: pulumi.Output[str],
    account: "core.ServiceAccount",
    runtime: "core.VolumeArgs",
    opts: pulumi.ResourceOptions,
) -> Run:
    """Creates everything that the run's pods need."""
    labels = standard_labels(COMPONENT, COMPONENT, name)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
    workers = args.get("workers", 1)
    # To see whether an older Job still works on the same run, for example after an interrupted update.
    rule = rbac.PolicyRuleArgs(api_groups=["batch"], resources=["jobs"], verbs=["list"])
    report = RunReport(name, args["namespace"], labels, name, opts, rule)
    prerequisites: list[pulumi.Resource] = [
        account,
        report.binding,
        *requirements(name, args, opts),
    ]
    if workers > 1:
        prerequisites.append(worker_network_policy(COMPONENT, name, metadata, workers, opts))
        prerequisites.append(names_of_workers(COMPONENT, name, args["namespace"], args, opts))
    checkpoints, cache = args.get("checkpoints"), args.get("model_cache")
    return Run(
        name=name,
        args=args,
        run_id=run,
        service_account=with_dependencies(name, *prerequisites),
        trials=[_trial(args, values) for values in trials(args.get("sweep", {}))] if "sweep" in args else [],
        checkpoint_claim=optional_claim(f"{name}-checkpoints", args["namespace"], labels, checkpoints, workers, opts),
        cache_claim=optional_claim(f"{name}-cache", args["namespace"], labels, cache, workers, opts),
        report=report,
        runtime=runtime,
    )


def _trial(args: TrainingJobArgs, values: Mapping[str, Any]) -> pulumi.Output[str]:
    """The parameters of one run of a sweep, as JSON."""
    return pulumi.Output.all(args.get("parameters") or {}, values).apply(
        lambda both: canonical_json({**both[0], **both[1]})
    )
