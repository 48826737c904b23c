"""The pod of a training run: the training container, and the publisher that waits for it to end.

The training is not an init container, because the official Kubernetes provider's error for a failed Job shows only the
last log lines of ordinary containers, and those of a failed training are the ones to see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from modelops.core.assets import asset
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.outputs import text_of, with_dependencies
from modelops.core.run_id import canonical_json
from modelops.kubernetes.labels import selecting, selector, standard_labels
from modelops.kubernetes.pods import (
    ACCOUNT_FOLDER,
    DefaultResources,
    api_access,
    claimed,
    container,
    core,
    env_from_secret,
    field_variable,
    mount,
    pod_template,
    resource_requirements,
    scratch,
    tracking_credentials,
)
from modelops.kubernetes.run_report import RunReport
from modelops.kubernetes.runtime import FOLDER, VARIABLES, file_mount, runtime_command, runtime_mount
from modelops.training import base_model
from modelops.training.args import Framework, TrainingJobArgs
from modelops.training.gates import gate_variables, may_compare
from modelops.training.sweep import goal

COMPONENT = "training-job"
DEFAULT_COMMAND = ("python", "-m", "sample.train")
DEFAULT_REGISTRY_WAIT_SECONDS = 120
TRAINING_RESOURCES = DefaultResources(cpu="500m", memory="1Gi", memory_limit="2Gi")
PUBLISHER_RESOURCES = DefaultResources(cpu="50m", memory="256Mi", memory_limit="1Gi")
CHECKPOINT_SECONDS = 60
"""How long a training may take to write its checkpoint after SIGTERM."""
WORK = "/modelops"
"""Mount path of the volume that the pod's containers share."""
CHECKPOINTS = "/checkpoints"
DATA = "/data"
CACHE = "/cache"
_JOB_NAME = "metadata.labels['batch.kubernetes.io/job-name']"


@dataclass(frozen=True)
class Run:
    """A training run: what its pods are made from."""

    name: str
    """Name of the component, and of the Service that gives its workers DNS names."""
    args: TrainingJobArgs
    run_id: pulumi.Output[str]
    service_account: pulumi.Output[str]
    trials: Sequence[pulumi.Output[str]]
    """The parameters of each run of a sweep, as JSON; empty without one."""
    checkpoint_claim: pulumi.Input[str] | None
    cache_claim: pulumi.Input[str] | None
    report: RunReport
    runtime: core.VolumeArgs
    """The volume with the scripts and the program that publishes."""
    annotations: pulumi.Input[Mapping[str, str] | None] = None
    """Annotations of the pods."""

    @property
    def workers(self) -> int:
        """How many pods train together."""
        return self.args.get("workers", 1)

    @property
    def version(self) -> pulumi.Output[str]:
        """The alias of the version that this run publishes."""
        return pulumi.Output.concat("run-", self.run_id)

    def labels(self) -> dict[str, pulumi.Input[str]]:
        """Labels of the objects of this run."""
        return standard_labels(COMPONENT, COMPONENT, self.name, self.version)

    def selector(self) -> pulumi.Output[str]:
        """Selects the Jobs and pods of this run."""
        same_run = {**selector(COMPONENT, self.name), "app.kubernetes.io/version": self.version}
        return selecting(same_run)


def select_template(run: Run, sweep: pulumi.Resource) -> core.PodTemplateSpecArgs:
    """The pod template of the Job that registers the best run of `sweep`, once that is done."""
    account: pulumi.Output[str] = with_dependencies(run.service_account, sweep)
    command = (run.args.get("publisher") or {}).get("select_command") or runtime_command("select")
    select = _publisher(
        run,
        "select",
        pulumi.Output.from_input(command).apply(list),
        {**_publishing(run), **gate_variables(run.args), **run.report.variables, **VARIABLES},
        mount("tmp", "/tmp"),
        file_mount(),
    )
    volumes = [scratch("tmp"), api_access("account"), run.runtime]
    return _template(dataclasses.replace(run, service_account=account), [select], [], volumes)


def template(run: Run) -> core.PodTemplateSpecArgs:
    """The pod template of the training's Job."""
    init = [_check(run), *_fetch_base(run)]
    return _template(run, [_train(run), _publish(run)], init, _volumes(run))


def _template(
    run: Run,
    containers: Sequence[core.ContainerArgs],
    init_containers: Sequence[core.ContainerArgs],
    volumes: Sequence[pulumi.Input[core.VolumeArgs]],
    **fields: Any,
) -> core.PodTemplateSpecArgs:
    return pod_template(
        run.labels(),
        run.service_account,
        containers,
        run.args,
        annotations=run.annotations,
        restart_policy="Never",
        subdomain=run.name if run.workers > 1 else None,
        termination_grace_period_seconds=CHECKPOINT_SECONDS,
        volumes=volumes,
        init_containers=init_containers or None,
        **fields,
    )


def _volumes(run: Run) -> list[pulumi.Input[core.VolumeArgs]]:
    volumes: list[pulumi.Input[core.VolumeArgs]] = [scratch("work"), scratch("tmp"), api_access("account"), run.runtime]
    volumes += base_model.volumes(run.args, run.cache_claim)
    if run.checkpoint_claim is not None:
        volumes.append(claimed("checkpoints", run.checkpoint_claim))
    if run.cache_claim is not None:
        volumes.append(claimed("cache", run.cache_claim))
    if (data := run.args.get("data_claim")) is not None:
        volumes.append(claimed("data", data))
    if (size := run.args.get("shared_memory")) is not None:
        memory = core.EmptyDirVolumeSourceArgs(medium="Memory", size_limit=size)
        volumes.append(core.VolumeArgs(name="shared-memory", empty_dir=memory))
    return volumes


def _mounts(run: Run) -> list[core.VolumeMountArgs]:
    """The mounts of both the training and the publisher."""
    mounts = [mount("work", WORK), mount("tmp", "/tmp")]
    if run.checkpoint_claim is not None:
        mounts.append(mount("checkpoints", CHECKPOINTS))
    return mounts


def _check(run: Run) -> core.ContainerArgs:
    """The init container that checks whether there is anything to train."""
    variables = {
        **_registry(run),
        "MODELOPS_MODEL_NAME": run.args["model_name"],
        "MODELOPS_NAMESPACE": run.args["namespace"],
        "MODELOPS_WORKERS": str(run.workers),
        "MODELOPS_SAME_RUN": run.selector(),
    }
    if not run.trials and may_compare(run.args.get("gate")):
        variables |= gate_variables(run.args)
    command, files = ["/bin/sh", f"{FOLDER}/check.sh", f"{FOLDER}/check.py"], ("check.sh", "check.py")
    mounts = [mount("work", WORK), mount("tmp", "/tmp"), *(file_mount(file) for file in files)]
    return _publisher(run, "check", command, variables, *mounts)


def _fetch_base(run: Run) -> list[core.ContainerArgs]:
    """The init container with the base model of a fine-tuning; one that is fetched or mounted already, it leaves."""
    args = run.args
    if "base_model" not in args:
        return []
    secret = args["base_model"].get("secret")
    return [
        container(
            "fetch-base",
            args["image"],
            variables={**_registry(run), **base_model.variables(args, run.cache_claim, CACHE), **VARIABLES},
            secrets=tracking_credentials(args.get("tracking_secret"), token=args.get("tracking_token")),
            env_from=None if secret is None else [env_from_secret(secret)],
            command=runtime_command("fetch-base"),
            resources=resource_requirements(args.get("helper_resources"), PUBLISHER_RESOURCES),
            volume_mounts=[
                mount("tmp", "/tmp"),
                *base_model.mounts(args, run.cache_claim, CACHE),
                runtime_mount(),
            ],
        )
    ]


def _train(run: Run) -> core.ContainerArgs:
    args = run.args
    mounts = [*_mounts(run), file_mount("train.sh")]
    if "base_model" in args:
        mounts += base_model.mounts(args, run.cache_claim, CACHE)
    elif run.cache_claim is not None:
        mounts.append(mount("cache", CACHE))
    if "data_claim" in args:
        mounts.append(mount("data", DATA, read_only=True))
    if "shared_memory" in args:
        mounts.append(mount("shared-memory", "/dev/shm"))
    secrets = [(args.get("checkpoints") or {}).get("secret"), args.get("data_secret")]
    return container(
        "train",
        args["image"],
        variables={
            **_contract(run),
            **_distribution(run),
            **_checkpointing(run),
            **base_model.variables(args, run.cache_claim, CACHE),
            **args.get("environment", {}),
        },
        secrets=[field_variable("MODELOPS_JOB_NAME", _JOB_NAME)],
        env_from=[env_from_secret(secret) for secret in secrets if secret is not None] or None,
        command=_wrapped("train.sh", args.get("command") or DEFAULT_COMMAND),
        resources=resource_requirements(args.get("resources"), TRAINING_RESOURCES, args.get("resource_claims")),
        volume_mounts=mounts,
    )


def _publish(run: Run) -> core.ContainerArgs:
    """The container that publishes the model after the training."""
    publisher = run.args.get("publisher") or {}
    checkpoints = run.args.get("checkpoints") or {}
    variables = {**_publishing(run), "MODELOPS_PUBLISH_RETRIES": text_of(run.args.get("retries", 0))}
    keep = checkpoints.get("keep_after_publish", False)
    delete = pulumi.Output.from_input(keep).apply(lambda kept: "false" if kept else "true")
    if run.checkpoint_claim is not None and keep is not True:
        variables["MODELOPS_DELETE_CHECKPOINTS"] = delete
    if "command" not in publisher:
        variables["MODELOPS_WATCH"] = " ".join(runtime_command("watch"))
    # A sweep's gate is judged by the Job that registers the best run: a changed gate must not run the others again.
    if not run.trials:
        variables |= {**gate_variables(run.args), **run.report.variables}
    command = _wrapped("publish.sh", publisher.get("command") or runtime_command("publish"))
    return _publisher(
        run, "publish", command, {**variables, **VARIABLES}, *_mounts(run), file_mount("publish.sh"), file_mount()
    )


def _publisher(
    run: Run, name: str, command: Any, variables: Mapping[str, pulumi.Input[str]], *mounts: core.VolumeMountArgs
) -> core.ContainerArgs:
    """A container that may use the registry and the ServiceAccount's token, unlike the training.

    A publishing command of the arguments' own is in the training image, unless they name another.
    """
    own_command = ("select_command" if name == "select" else "command") in (run.args.get("publisher") or {})
    return container(
        name,
        run.args.get("runtime_image", run.args["image"] if own_command else UPSTREAM_IMAGES["mlflow"]),
        variables=variables,
        secrets=[
            field_variable("MODELOPS_JOB_NAME", _JOB_NAME),
            *tracking_credentials(run.args.get("tracking_secret"), token=run.args.get("tracking_token")),
        ],
        command=command,
        resources=resource_requirements(run.args.get("helper_resources"), PUBLISHER_RESOURCES),
        volume_mounts=[*mounts, mount("account", ACCOUNT_FOLDER, read_only=True)],
    )


def scripts() -> dict[str, str]:
    """The files that the containers run, by name."""
    contract, rendezvous, train, publish, check = (
        asset(f"training/assets/{name}.sh") for name in ("contract", "rendezvous", "train", "publish", "check")
    )
    return {
        "train.sh": "\n".join([contract, rendezvous, train]),
        "publish.sh": "\n".join([contract, publish]),
        "check.sh": check,
        "check.py": asset("training/assets/check.py"),
    }


def _wrapped(script: str, command: pulumi.Input[Sequence[pulumi.Input[str]]]) -> pulumi.Output[Sequence[str]]:
    """The shell script, with `command` as its arguments."""
    arguments: pulumi.Output[Any] = pulumi.Output.from_input(command)
    return arguments.apply(lambda words: ["/bin/sh", f"{FOLDER}/{script}", *words])


def _registry(run: Run) -> dict[str, pulumi.Input[str]]:
    """Variables of every container that reads or writes the registry."""
    wait = (run.args.get("publisher") or {}).get("registry_wait_seconds", DEFAULT_REGISTRY_WAIT_SECONDS)
    return {
        "MODELOPS_REGISTRY_WAIT_SECONDS": text_of(wait),
        "MLFLOW_TRACKING_URI": run.args["tracking_uri"],
        "MLFLOW_EXPERIMENT_NAME": run.args.get("experiment_name", run.args["model_name"]),
        "MODELOPS_ALIAS": run.version,
    }


def _contract(run: Run) -> dict[str, pulumi.Input[str]]:
    """Variables of both the training and the publisher."""
    args = run.args
    folder: pulumi.Input[str] = WORK
    if run.checkpoint_claim is not None:
        folder = pulumi.Output.concat(CHECKPOINTS, "/", run.version)
    variables: dict[str, pulumi.Input[str]] = {
        **_registry(run),
        "MODELOPS_RUN_ID": run.run_id,
        "MODELOPS_MODEL_NAME": args["model_name"],
        "MODELOPS_FRAMEWORK": Framework(args["framework"]).value,
        "MODELOPS_DATA_URI": args.get("data_uri", ""),
        "MODELOPS_DATA_VERSION": args.get("data_version", ""),
        "MODELOPS_FOLDER": folder,
        "MODELOPS_WORKERS": str(run.workers),
    }
    if not run.trials:
        variables["MODELOPS_PARAMETERS"] = pulumi.Output.from_input(args.get("parameters") or {}).apply(canonical_json)
        return variables
    variables |= {f"MODELOPS_PARAMETERS_{index}": parameters for index, parameters in enumerate(run.trials)}
    return variables | {
        "MODELOPS_SWEEP_RUNS": str(len(run.trials)),
        "MODELOPS_SWEEP_METRIC": args["sweep_metric"],
        "MODELOPS_SWEEP_GOAL": goal(args),
    }


def _publishing(run: Run) -> dict[str, pulumi.Input[str]]:
    """Variables of the containers that log runs and register the model."""
    return {
        **_contract(run),
        "MODELOPS_IMAGE": run.args["image"],
        "MODELOPS_GIT_COMMIT": run.args.get("git_commit", ""),
    }


def _distribution(run: Run) -> Mapping[str, pulumi.Input[str]]:
    """Variables for distributing the training."""
    args = run.args
    processes = args.get("processes_per_worker", 1)
    variables: dict[str, pulumi.Input[str]] = {
        "MODELOPS_SERVICE": run.name,
        "MODELOPS_PROCESSES_PER_WORKER": str(processes),
        "MODELOPS_TENSOR_PARALLEL": str(args.get("tensor_parallel", 1)),
        "MODELOPS_DATA_PARALLEL": str(run.workers * processes // args.get("tensor_parallel", 1)),
    }
    if run.cache_claim is not None:
        variables |= {"MODELOPS_CACHE_DIR": CACHE, "HF_HOME": CACHE}
    return variables


def _checkpointing(run: Run) -> Mapping[str, pulumi.Input[str]]:
    """Variables for where and how often to write checkpoints; the wrapper script sets the folder."""
    checkpoints = run.args.get("checkpoints") or {}
    variables: dict[str, pulumi.Input[str]] = {}
    if "uri" in checkpoints:
        variables["MODELOPS_CHECKPOINT_URI"] = checkpoints["uri"]
    if "interval_seconds" in checkpoints:
        variables["MODELOPS_CHECKPOINT_SECONDS"] = text_of(checkpoints["interval_seconds"])
    if "interval_steps" in checkpoints:
        variables["MODELOPS_CHECKPOINT_STEPS"] = text_of(checkpoints["interval_steps"])
    return variables
