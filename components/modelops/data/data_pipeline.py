"""DataPipeline: raw data to a version of split training data, once or on a schedule, by one pod or several."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.naming import objects_name
from modelops.core.outputs import merged, short_hash, timeouts, with_dependencies
from modelops.core.run_id import PREPARING_TOKEN, canonical_json, image_digest
from modelops.data.args import DataPipelineArgs, DataVolume, Engine
from modelops.data.checks import DEFAULT_RESOURCES, checked
from modelops.kubernetes.access import service_account
from modelops.kubernetes.certificates import certificates
from modelops.kubernetes.jobs import STOPPED, failure_policy
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.pods import (
    claimed,
    container,
    core,
    env_from_secret,
    field_variable,
    from_secret,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
    secret_key,
    tracking_credentials,
)
from modelops.kubernetes.volumes import optional_claim
from modelops.kubernetes.workers import worker_network_policy

__all__ = ["DataPipeline", "DataPipelineArgs", "DataVolume", "Engine"]

COMPONENT = "data-pipeline"
DEFAULT_COMMAND = ("python", "-m", "modelops_runtime", "prepare")
DEFAULT_DESTINATION = "/data/prepared"
DEFAULT_RETRIES = 0
DEFAULT_TIMEOUT_SECONDS = 3600
DEFAULT_TIME_ZONE = "Etc/UTC"
MARGIN_SECONDS = 60
"""How much longer Pulumi waits than Kubernetes lets the Job run, so that the error is Kubernetes' own."""
WRONG = (2, 10, 11, 13, 14, 15)
"""Exit codes after which another try would end the same: the declaration or the data is wrong."""
DATA = "/data"
CERTIFICATES = "/etc/modelops/engine"
_JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"
# Immutable in Kubernetes, and not among the fields on which the official provider replaces a Job.
_REPLACE_ON = ["spec.completionMode", "spec.podFailurePolicy"]

batch = k8s.batch.v1


class DataPipeline(pulumi.ComponentResource):
    """Prepares training data once for each distinct declaration, and never again while that version is there.

    A failed run leaves nothing at the destination, and is run again by the next `pulumi up`. With a schedule, each run
    looks at the content of its inputs, and does nothing where they have not changed.
    """

    data_uri: pulumi.Output[str]
    """Where the version is: a folder with `train`, `validation`, `test` and `preprocessing.json`. What uses it waits
    until it is there. With a schedule: the destination, where `latest.json` names the newest version."""
    data_version: pulumi.Output[str]
    """The version: twelve hex digits that change with image, command, sources, steps, target or `input_version`; for
    TrainingJob's argument of that name. Known in a plan. With a schedule: empty, each run finds its own."""
    data_claim: pulumi.Output[str]
    """Name of the claim of the volume at `/data`, for TrainingJob's argument of that name; empty without a volume."""
    job_name: pulumi.Output[str]
    """Name of the Kubernetes Job or CronJob."""

    def __init__(self, name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:DataPipeline", name, None, opts)
        name = objects_name(name, opts)
        child_opts = pulumi.ResourceOptions(parent=self)
        scheduled = "schedule" in args
        version = pulumi.Output.from_input("") if scheduled else _version(args)
        labels, volume = standard_labels(COMPONENT, COMPONENT, name), args.get("volume")
        claim = optional_claim(f"{name}-data", args["namespace"], labels, volume, args.get("shards", 1), child_opts)
        template = _template(
            name, args, version, _prerequisites(name, args, child_opts), claim, _secret(name, args, child_opts)
        )
        spec = _job_spec(args, template)
        made: pulumi.Resource = (
            _cron_job(name, args, spec, child_opts) if scheduled else _job(name, args, spec, version, child_opts)
        )
        destination = pulumi.Output.from_input(args.get("destination", DEFAULT_DESTINATION))
        uri = destination if scheduled else pulumi.Output.concat(destination, "/", version)
        self.data_uri = with_dependencies(uri, made)
        self.data_version = with_dependencies(version, made)
        self.data_claim = pulumi.Output.from_input(claim or "")
        self.job_name = name_of(made)
        self.register_outputs(
            {
                "data_uri": self.data_uri,
                "data_version": self.data_version,
                "data_claim": self.data_claim,
                "job_name": self.job_name,
            }
        )


def _pipeline(args: DataPipelineArgs) -> pulumi.Output[str]:
    """The declaration as the program reads it."""
    declared: dict[str, Any] = {"sources": list(args["sources"]), "steps": list(args["steps"])}
    if "target" in args:
        declared["target"] = args["target"]
    return pulumi.Output.from_input(declared).apply(canonical_json)


def _version(args: DataPipelineArgs) -> pulumi.Output[str]:
    return pulumi.Output.all(
        image=args["image"],
        command=args.get("command") or list(PREPARING_TOKEN),
        pipeline=_pipeline(args),
        inputs=args.get("input_version", ""),
    ).apply(
        lambda known: short_hash(
            image_digest(known["image"]), canonical_json(known["command"]), known["pipeline"], known["inputs"]
        )
    )


def _prerequisites(name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """The ServiceAccount of the pods, which nothing else may connect to. It has no rights, and the pods no token."""
    labels = standard_labels(COMPONENT, COMPONENT, name)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
    account = service_account(name, metadata, opts)
    # Shards alone never talk: they meet at the destination.
    workers = args.get("shards", 1) if args.get("engine") is Engine.DASK else 1
    policy = worker_network_policy(COMPONENT, name, metadata, workers, opts)
    return with_dependencies(name, account, policy)


def _secret(name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions) -> "core.Secret | None":
    """What Dask's workers know each other by: whoever may give them work runs code in their pods."""
    if args.get("engine") is not Engine.DASK or args.get("shards", 1) == 1:
        return None
    labels = standard_labels(COMPONENT, COMPONENT, name)
    return certificates(f"{name}-engine", args["namespace"], labels, {"worker": ["worker"]}, opts)


def _template(
    name: str,
    args: DataPipelineArgs,
    version: pulumi.Output[str],
    account: pulumi.Output[str],
    claim: pulumi.Input[str] | None,
    known_by: "core.Secret | None",
) -> "core.PodTemplateSpecArgs":
    volumes, mounts = [scratch("tmp")], [mount("tmp", "/tmp")]
    if known_by is not None:
        volumes.append(from_secret("engine", known_by))
        mounts.append(mount("engine", CERTIFICATES, read_only=True))
    if claim is not None:
        volumes.append(claimed("data", claim))
        mounts.append(mount("data", DATA))
    secrets = [field_variable("MODELOPS_WORK", _JOB_NAME), *tracking_credentials(args.get("tracking_secret"))]
    if "salt_secret" in args:
        secrets.append(secret_key("MODELOPS_SALT", args["salt_secret"], "salt"))
    variables: dict[str, pulumi.Input[str]] = {
        "MODELOPS_PIPELINE": _pipeline(args),
        "MODELOPS_DESTINATION": args.get("destination", DEFAULT_DESTINATION),
        "MODELOPS_SHARDS": str(args.get("shards", 1)),
        "MODELOPS_ENGINE": Engine(args.get("engine", Engine.MEMORY)).value,
        **({} if known_by is None else {"MODELOPS_ENGINE_TLS": CERTIFICATES}),
        "MODELOPS_SHARDS_WAIT_SECONDS": str(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        **args.get("environment", {}),
    }
    if "tracking_uri" in args:
        variables |= {"MLFLOW_TRACKING_URI": args["tracking_uri"], "MODELOPS_PIPELINE_NAME": name}
    if "schedule" not in args:
        variables["MODELOPS_DATA_VERSION"] = version
    source = args.get("data_secret")
    prepare = container(
        "prepare",
        args["image"],
        variables=variables,
        secrets=secrets,
        env_from=None if source is None else [env_from_secret(source)],
        command=pulumi.Output.from_input(args.get("command") or DEFAULT_COMMAND).apply(list),
        resources=resource_requirements(args.get("resources"), DEFAULT_RESOURCES),
        volume_mounts=mounts,
    )
    labels = standard_labels(COMPONENT, COMPONENT, name, None if "schedule" in args else version)
    return pod_template(labels, account, [prepare], args, restart_policy="Never", volumes=volumes)


def _job_spec(args: DataPipelineArgs, template: "core.PodTemplateSpecArgs") -> "batch.JobSpecArgs":
    shards, retries = args.get("shards", 1), args.get("retries", DEFAULT_RETRIES)
    return batch.JobSpecArgs(
        backoff_limit=retries,
        active_deadline_seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        pod_failure_policy=failure_policy(
            final=WRONG if retries > 0 or "schedule" in args else (), uncounted=(STOPPED,)
        ),
        ttl_seconds_after_finished=args.get("ttl_seconds_after_finished"),
        completion_mode="Indexed" if shards > 1 else None,
        completions=shards if shards > 1 else None,
        parallelism=shards if shards > 1 else None,
        template=template,
    )


def _job(
    name: str,
    args: DataPipelineArgs,
    spec: "batch.JobSpecArgs",
    version: pulumi.Output[str],
    opts: pulumi.ResourceOptions,
) -> "batch.Job":
    seconds = args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS) + MARGIN_SECONDS
    options = merged(opts, custom_timeouts=timeouts(seconds), replace_on_changes=_REPLACE_ON)
    # No name of its own making: see TrainingJob's.
    metadata = k8s.meta.v1.ObjectMetaArgs(
        namespace=args["namespace"],
        labels=standard_labels(COMPONENT, COMPONENT, name, version),
        annotations={"pulumi.com/replaceUnready": "true"},
    )
    return batch.Job(name, metadata=metadata, spec=spec, opts=options)


def _cron_job(
    name: str, args: DataPipelineArgs, spec: "batch.JobSpecArgs", opts: pulumi.ResourceOptions
) -> "batch.CronJob":
    labels = standard_labels(COMPONENT, COMPONENT, name)
    return batch.CronJob(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels),
        spec=batch.CronJobSpecArgs(
            schedule=args["schedule"],
            time_zone=args.get("time_zone", DEFAULT_TIME_ZONE),
            concurrency_policy="Forbid",
            job_template=batch.JobTemplateSpecArgs(metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels), spec=spec),
        ),
        opts=opts,
    )
