"""TrainingJob: one training run as an immutable Kubernetes Job that ends with a published model version."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.naming import objects_name
from modelops.core.outputs import with_dependencies
from modelops.core.run_id import TRAINING_TOKEN, canonical_json, image_digest, run_id
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.run_report import RunReport
from modelops.kubernetes.volumes import optional_claim
from modelops.kubernetes.workers import names_of_workers, worker_network_policy
from modelops.training.args import (
    Framework,
    Goal,
    TrainingJobArgs,
)
from modelops.training.backends import job_of, requirements, start
from modelops.training.checks import checked
from modelops.training.job_spec import selecting_spec
from modelops.training.pod import COMPONENT, Run
from modelops.training.sweep import trials

rbac = k8s.rbac.v1


class TrainingJob(pulumi.ComponentResource):
    """Trains a model once for each distinct set of inputs, checks its gate and registers it as a version in MLflow.

    Unchanged inputs run nothing. A changed input makes a new Job, named `<name>-<8 random digits>` and labelled with
    the run's identity, and the old one is removed only once the new one is done. A failed Job is run again, as a new
    one, by the next `pulumi up`. A Job of a run that is published already ends without training.
    """

    run_id: pulumi.Output[str]
    """Identity of the run: twelve hex digits that change with image, command, parameters, data or framework."""
    model_uri: pulumi.Output[str]
    """`models:/<model_name>@run-<run_id>`, the registered version. What uses it waits until the training is done."""
    model_version: pulumi.Output[str]
    """`run-<run_id>`, the registered version's alias."""
    job_name: pulumi.Output[str]
    """Name of the Kubernetes Job, or of the JobSet or TrainJob."""
    metrics: pulumi.Output[Mapping[str, float]]
    """Metrics of the published model by name. Only known once the run is done."""
    run_url: pulumi.Output[str]
    """Address of the run's page in MLflow. Only known once the run is done."""

    def __init__(self, name: str, args: TrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:TrainingJob", name, None, opts)
        name = objects_name(name, opts)
        child_opts = pulumi.ResourceOptions(parent=self)
        self.run_id = _run_id(args)
        run = _prerequisites(name, args, self.run_id, child_opts)
        started = start(run, child_opts)
        last = started.resource
        if run.trials:
            last = job_of(f"{name}-select", run, selecting_spec(run, last), child_opts)
        self.job_name = started.name
        self.model_version = with_dependencies(run.version, last, outcome=started.outcome)
        self.model_uri = pulumi.Output.concat("models:/", args["model_name"], "@", self.model_version)
        tracking_url = args.get("tracking_url", args["tracking_uri"])
        self.metrics, self.run_url = run.report.outputs(last, started.outcome, self.run_id, tracking_url)
        self.register_outputs(
            {
                "run_id": self.run_id,
                "model_uri": self.model_uri,
                "model_version": self.model_version,
                "job_name": self.job_name,
                "metrics": self.metrics,
                "run_url": self.run_url,
            }
        )


def _run_id(args: TrainingJobArgs) -> pulumi.Output[str]:
    sweep: dict[str, Any] | None = None
    if "sweep" in args:
        goal = Goal(args.get("sweep_goal", Goal.MIN))
        sweep = {"values": args["sweep"], "metric": args["sweep_metric"], "goal": goal.value}
    return pulumi.Output.all(
        image=args["image"],
        command=args.get("command") or list(TRAINING_TOKEN),
        parameters=args.get("parameters") or {},
        data_uri=args.get("data_uri", ""),
        data_version=args.get("data_version", ""),
        sweep=sweep,
    ).apply(
        lambda known: run_id(
            image_digest=image_digest(known["image"]),
            command=known["command"],
            parameters=known["parameters"],
            data_uri=known["data_uri"],
            data_version=known["data_version"],
            framework=Framework(args["framework"]).value,
            workers=args.get("workers", 1),
            processes_per_worker=args.get("processes_per_worker", 1),
            tensor_parallel=args.get("tensor_parallel", 1),
            sweep=known["sweep"],
        )
    )


def _prerequisites(name: str, args: TrainingJobArgs, run: pulumi.Output[str], opts: pulumi.ResourceOptions) -> Run:
    """Everything that a run's pods need to be there before them."""
    labels = standard_labels(COMPONENT, COMPONENT, name)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
    workers = args.get("workers", 1)
    account = service_account(name, metadata, opts)
    # To see whether an older Job is still at work on the same run, such as one that an interrupted update left.
    rule = rbac.PolicyRuleArgs(api_groups=["batch"], resources=["jobs"], verbs=["list"])
    needed: list[pulumi.Resource] = [
        account,
        grant(name, metadata, [rule], name, opts),
        worker_network_policy(COMPONENT, name, metadata, workers, opts),
    ]
    needed += requirements(name, args, opts)
    report = RunReport(name, args["namespace"], labels, name, opts)
    if workers > 1:
        needed.append(names_of_workers(COMPONENT, name, args["namespace"], opts))
    checkpoints, cache = args.get("checkpoints"), args.get("model_cache")
    return Run(
        name=name,
        args=args,
        run_id=run,
        service_account=with_dependencies(name, *needed),
        trials=[_trial(args, values) for values in trials(args.get("sweep", {}))] if "sweep" in args else [],
        checkpoint_claim=optional_claim(f"{name}-checkpoints", args["namespace"], labels, checkpoints, workers, opts),
        cache_claim=optional_claim(f"{name}-cache", args["namespace"], labels, cache, workers, opts),
        report=report,
    )


def _trial(args: TrainingJobArgs, values: Mapping[str, Any]) -> pulumi.Output[str]:
    """The parameters of one run of a sweep."""
    fixed = pulumi.Output.from_input(args.get("parameters") or {})
    return fixed.apply(lambda known: canonical_json({**known, **values}))
