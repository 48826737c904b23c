"""DataPipeline: turns raw data into a version of split training data, once or on a schedule, on one pod or several."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import arguments_in_one, child_options
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.naming import objects_name
from modelops.core.outputs import (
    merged,
    plain_or,
    register_declared_outputs,
    short_hash,
    text_of,
    timeouts,
    with_dependencies,
)
from modelops.core.run_id import PREPARING_TOKEN, canonical_json, image_digest
from modelops.core.x509 import AUTHORITY, CERTIFICATE, KEY
from modelops.data.args import DataPipelineArgs, DataVolume, Engine
from modelops.data.checks import DEFAULT_RESOURCES, MONTH_SECONDS, checked
from modelops.kubernetes.access import service_account
from modelops.kubernetes.certificates import Certificate, authority, certificate
from modelops.kubernetes.jobs import STOPPED, failure_policy
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.pods import (
    claimed,
    container,
    core,
    env_from_secret,
    field_variable,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
    secret_key,
    tracking_credentials,
)
from modelops.kubernetes.start_watch import watched_options
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
"""How much longer than the Job's deadline Pulumi waits, so that Kubernetes reports the error."""
FINAL = (2, 10, 11, 13, 14, 15)
"""Exit codes that a retry would not change: the declaration or the data is wrong."""
DATA = "/data"
CERTIFICATES = "/etc/modelops/engine"
_JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"
# Immutable in Kubernetes, but the official provider doesn't replace a Job when they change.
_REPLACE_ON = ["spec.completionMode", "spec.podFailurePolicy"]

batch = k8s.batch.v1


class DataPipeline(pulumi.ComponentResource):
    """Prepares training data once for each distinct declaration, and not again while that version exists.

    A failed run leaves nothing at the destination, and the next `pulumi up` runs it again. With a schedule, each run
    compares the content of its inputs, and does nothing if it has not changed.
    """

    data_uri: pulumi.Output[str]
    """Location of the version: a folder with `train`, `validation`, `test` and `preprocessing.json`. Resources that use
    it wait until it exists. With a schedule: the destination, where `latest.json` names the newest version."""
    data_version: pulumi.Output[str]
    """The version, for TrainingJob's `data_version`: twelve hex digits that change with image, command, sources, steps,
    target or `input_version`. Known in a plan. With a schedule: empty, each run computes its own."""
    data_claim: pulumi.Output[str]
    """Name of the claim of the volume at `/data`, for TrainingJob's `data_claim`; empty without a volume."""
    job_name: pulumi.Output[str]
    """Name of the Kubernetes Job or CronJob."""

    @arguments_in_one
    def __init__(self, name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:DataPipeline", name, None, opts)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        scheduled = "schedule" in args
        version = pulumi.Output.from_input("") if scheduled else _version(args)
        labels, volume = standard_labels(COMPONENT, COMPONENT, name), args.get("volume")
        claim = optional_claim(f"{name}-data", args["namespace"], labels, volume, args.get("shards", 1), child_opts)
        account = _account(name, args, child_opts)
        engine_certificates = _engine_certificates(name, args, child_opts)
        account_name = with_dependencies(name, account, _network_policy(name, args, child_opts))
        spec = _job_spec(args, _template(name, args, version, account_name, claim, engine_certificates))
        job_opts = merged(child_opts, depends_on=[] if engine_certificates is None else [engine_certificates.resource])
        if not scheduled and args.get("watch", True):
            job_opts = _watched(name, args, spec, account, job_opts)
        job: pulumi.Resource = (
            _cron_job(name, args, spec, job_opts) if scheduled else _job(name, args, spec, version, job_opts)
        )
        destination = pulumi.Output.from_input(args.get("destination", DEFAULT_DESTINATION))
        uri = destination if scheduled else pulumi.Output.concat(destination, "/", version)
        self.data_uri = with_dependencies(uri, job)
        self.data_version = with_dependencies(version, job)
        self.data_claim = pulumi.Output.from_input(claim or "")
        self.job_name = name_of(job)
        register_declared_outputs(self)


def _declaration(args: DataPipelineArgs) -> pulumi.Output[str]:
    """The declaration as JSON, as the program reads it."""
    declaration: dict[str, Any] = {"sources": args["sources"], "steps": args["steps"]}
    if "target" in args:
        declaration["target"] = args["target"]
    return pulumi.Output.from_input(declaration).apply(canonical_json)


def _version(args: DataPipelineArgs) -> pulumi.Output[str]:
    return pulumi.Output.all(
        image=args["image"],
        command=args.get("command") or list(PREPARING_TOKEN),
        declaration=_declaration(args),
        inputs=args.get("input_version", ""),
    ).apply(
        lambda values: short_hash(
            image_digest(values["image"]), canonical_json(values["command"]), values["declaration"], values["inputs"]
        )
    )


def _account(name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions) -> "core.ServiceAccount":
    """The ServiceAccount of the pods, without permissions or a token."""
    return service_account(name, _metadata(name, args), opts, args)


def _network_policy(
    name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions
) -> "k8s.networking.v1.NetworkPolicy":
    """Nothing else may connect to the pods. Only Dask's connect to each other; shards share the destination alone."""
    workers = args.get("shards", 1) if args.get("engine") is Engine.DASK else 1
    return worker_network_policy(COMPONENT, name, _metadata(name, args), workers, opts)


def _metadata(name: str, args: DataPipelineArgs) -> "k8s.meta.v1.ObjectMetaArgs":
    labels = standard_labels(COMPONENT, COMPONENT, name)
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)


def _engine_certificates(name: str, args: DataPipelineArgs, opts: pulumi.ResourceOptions) -> Certificate | None:
    """The certificate that Dask's workers authenticate with: whoever sends them work runs code in their pods."""
    if args.get("engine") is not Engine.DASK or args.get("shards", 1) == 1:
        return None
    labels = standard_labels(COMPONENT, COMPONENT, name)
    signer = authority(f"{name}-engine-ca", args["namespace"], labels, None, opts)
    return certificate(signer, f"{name}-engine", args["namespace"], labels, ["worker"], opts)


def _template(
    name: str,
    args: DataPipelineArgs,
    version: pulumi.Output[str],
    account: pulumi.Output[str],
    claim: pulumi.Input[str] | None,
    engine_certificates: Certificate | None,
) -> "core.PodTemplateSpecArgs":
    volumes, mounts = [scratch("tmp")], [mount("tmp", "/tmp")]
    if engine_certificates is not None:
        paths = {AUTHORITY: AUTHORITY, CERTIFICATE: "worker.crt", KEY: "worker.key"}
        volumes.append(engine_certificates.volume("engine", paths))
        mounts.append(mount("engine", CERTIFICATES, read_only=True))
    if claim is not None:
        volumes.append(claimed("data", claim))
        mounts.append(mount("data", DATA))
    secrets = [
        field_variable("MODELOPS_WORK", _JOB_NAME),
        *tracking_credentials(args.get("tracking_secret"), token=args.get("tracking_token")),
    ]
    if "salt_secret" in args:
        secrets.append(secret_key("MODELOPS_SALT", args["salt_secret"], "salt"))
    variables: dict[str, pulumi.Input[str]] = {
        "MODELOPS_PIPELINE": _declaration(args),
        "MODELOPS_DESTINATION": args.get("destination", DEFAULT_DESTINATION),
        "MODELOPS_SHARDS": str(args.get("shards", 1)),
        "MODELOPS_ENGINE": Engine(args.get("engine", Engine.MEMORY)).value,
        **({} if engine_certificates is None else {"MODELOPS_ENGINE_TLS": CERTIFICATES}),
        "MODELOPS_SHARDS_WAIT_SECONDS": text_of(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)),
        **args.get("environment", {}),
    }
    if "tracking_uri" in args:
        variables |= {"MLFLOW_TRACKING_URI": args["tracking_uri"], "MODELOPS_PIPELINE_NAME": name}
    if "schedule" not in args:
        variables["MODELOPS_DATA_VERSION"] = version
    data_secret = args.get("data_secret")
    prepare = container(
        "prepare",
        args["image"],
        variables=variables,
        secrets=secrets,
        env_from=None if data_secret is None else [env_from_secret(data_secret)],
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
        pod_failure_policy=pulumi.Output.from_input(retries).apply(
            lambda count: failure_policy(
                template, final=FINAL if count > 0 or "schedule" in args else (), uncounted=(STOPPED,)
            )
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
    seconds = plain_or(args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS), MONTH_SECONDS) + MARGIN_SECONDS
    options = merged(opts, custom_timeouts=timeouts(seconds), replace_on_changes=_REPLACE_ON)
    # No name derived from the version: see TrainingJob's Jobs.
    metadata = k8s.meta.v1.ObjectMetaArgs(
        namespace=args["namespace"],
        labels=standard_labels(COMPONENT, COMPONENT, name, version),
        annotations={"pulumi.com/replaceUnready": "true"},
    )
    return batch.Job(name, metadata=metadata, spec=spec, opts=options)


def _watched(
    name: str,
    args: DataPipelineArgs,
    spec: "batch.JobSpecArgs",
    account: "core.ServiceAccount",
    opts: pulumi.ResourceOptions,
) -> pulumi.ResourceOptions:
    """The options of a Job that fails early if its pods can't start."""
    return watched_options(
        name,
        selector(COMPONENT, name),
        spec.template,  # type: ignore[arg-type]
        args,
        opts,
        first=account,
        # Not the pipeline's: that may be what can't be pulled.
        image=args.get("runtime_image", UPSTREAM_IMAGES["python"]),
        seconds=args.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS),
        scheduling_seconds=args.get("scheduling_timeout_seconds"),
    )


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
