"""ModelRegistry's back-ups: a volume, a CronJob that backs up to it, and a suspended one that restores from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.outputs import text_of, with_dependencies
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import allow_egress, network_policy
from modelops.kubernetes.pods import (
    as_document,
    claimed,
    container,
    core,
    mount,
    pod_template,
    resource_requirements,
    scratch,
)
from modelops.kubernetes.volumes import retained_claim
from modelops.registry.args import (
    BACKUP_RESOURCES,
    DEFAULT_KEEP,
    DEFAULT_SCHEDULE,
    DEFAULT_STORAGE_SIZE,
    ModelRegistryArgs,
)
from modelops.registry.database import Database
from modelops.registry.storage import Storage

NAME = "mlflow-backup"
COMPONENT = "model-registry-backup"
DEADLINE_SECONDS = 86_400
_FOLDER = "/backup"
_MLFLOW_STEPS = ("save", "restore")
"""Steps that run in MLflow's image; the others run in PostgreSQL's."""


@dataclass(frozen=True)
class Source:
    """What to back up, and MLflow's image to do it."""

    name: str
    image: pulumi.Input[str]
    database: Database
    files: Storage
    claim: pulumi.Input[str] | None
    """Claim of the server's own volume."""
    ports: list[pulumi.Input[int | str]]
    """What pods connect to, as `allow_egress` takes it."""
    server_labels: dict[str, pulumi.Input[str]]
    """Labels of the server's pod: its ReadWriteOnce volume can be mounted on its node only."""


def backups(source: Source, args: ModelRegistryArgs, opts: pulumi.ResourceOptions) -> None:
    """Creates the CronJobs `<name>-backup` and, suspended, `<name>-restore`."""
    name, backup = f"{source.name}-backup", args["backup"]
    labels = standard_labels(NAME, COMPONENT, source.name)
    # Always retained: a back-up must survive an accidental `destroy` too.
    size = backup.get("storage_size", DEFAULT_STORAGE_SIZE)
    claim = retained_claim(name, args["namespace"], labels, size, backup, opts)
    metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels)
    account = service_account(name, metadata, opts, args)
    egress: Any = allow_egress(args, *source.ports) if source.ports else []
    network_policy(name, metadata, selector(NAME, source.name), opts, egress=egress)
    keep = text_of(backup.get("keep_count", DEFAULT_KEEP))
    for action, steps in (("backup", ("dump", "save")), ("restore", ("restore", "load"))):
        cron_job = f"{source.name}-{action}"
        k8s.batch.v1.CronJob(
            cron_job,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=cron_job, namespace=args["namespace"], labels=labels),
            spec=k8s.batch.v1.CronJobSpecArgs(
                schedule=backup.get("schedule", DEFAULT_SCHEDULE),
                suspend=action == "restore",
                concurrency_policy="Forbid",
                successful_jobs_history_limit=3,
                failed_jobs_history_limit=3,
                starting_deadline_seconds=3600,
                job_template=k8s.batch.v1.JobTemplateSpecArgs(
                    # Its alert knows this library's Jobs by them.
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=k8s.batch.v1.JobSpecArgs(
                        backoff_limit=0,
                        # A pod that can't start would keep all later ones from running, without a word.
                        active_deadline_seconds=DEADLINE_SECONDS,
                        template=_pod(source, args, steps, keep, with_dependencies(name, account), claim),
                    ),
                ),
            ),
            opts=opts,
        )


def _pod(
    source: Source,
    args: ModelRegistryArgs,
    steps: tuple[str, str],
    keep: pulumi.Input[str],
    account: pulumi.Input[str],
    claim: pulumi.Input[str],
) -> core.PodTemplateSpecArgs:
    """Runs the steps in order: a back-up saves the database first, a restore loads it last.

    So the mirror has all files of each dump, and a restored database finds every file.
    """
    mounts = [mount("backup", _FOLDER), mount("tmp", "/tmp")]
    volumes = [claimed("backup", claim), scratch(), *source.files.volumes]
    if source.claim is not None:
        mounts.append(mount("data", "/mlflow"))
        volumes.append(claimed("data", source.claim))
    steps_here = [step for step in steps if source.database.image or step in _MLFLOW_STEPS]
    containers = [_step(step, source, args, keep, mounts) for step in steps_here]
    return pod_template(
        standard_labels(NAME, COMPONENT, source.name),
        account,
        containers[-1:],
        args,
        restart_policy="Never",
        affinity=_affinity(source) if source.claim is not None else None,
        volumes=volumes,
        init_containers=containers[:-1],
    )


def _step(
    step: str,
    source: Source,
    args: ModelRegistryArgs,
    keep: pulumi.Input[str],
    mounts: list[core.VolumeMountArgs],
) -> core.ContainerArgs:
    in_mlflow = step in _MLFLOW_STEPS
    image = source.image if in_mlflow else source.database.image
    assert image is not None
    command: list[pulumi.Input[str]] = ["/bin/sh", "-c", asset("registry/assets/dump.sh"), "dump.sh", step]
    if in_mlflow:
        command = ["python3", "-c", asset("registry/assets/backup.py"), step]
    return container(
        step,
        image,
        variables={"MODELOPS_ARTIFACTS": source.files.uri, "MODELOPS_KEEP": keep},
        secrets=[source.database.variable, *(source.files.variables if in_mlflow else [])],
        env_from=source.files.env_from if in_mlflow else None,
        command=command,
        resources=resource_requirements(args.get("helper_resources"), BACKUP_RESOURCES),
        volume_mounts=[*mounts, *(source.files.mounts if in_mlflow else [])],
    )


def _affinity(source: Source) -> Any:
    """To the server's node, where the volume is."""
    term = core.PodAffinityTermArgs(
        topology_key="kubernetes.io/hostname",
        label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=source.server_labels),
    )
    return as_document(
        core.AffinityArgs(pod_affinity=core.PodAffinityArgs(required_during_scheduling_ignored_during_execution=[term]))
    )
