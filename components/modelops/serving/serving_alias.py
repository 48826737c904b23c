"""Tells the registry which version serves: after the rollout, a Job moves an alias of the registered model.

A version serves only once its rollout is complete. The training would set the alias too early, and so would a starting
pod, which may be the only one that ever gets ready.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from modelops.core.outputs import merged
from modelops.kubernetes.jobs import egress_only_policy
from modelops.kubernetes.pods import (
    PROGRESS_SECONDS,
    DefaultResources,
    container,
    core,
    mount,
    resource_requirements,
    scratch,
    tracking_credentials,
)
from modelops.kubernetes.registry_job import registry_job
from modelops.kubernetes.runtime import VARIABLES, runtime_command, runtime_mount
from modelops.serving.args import ModelServiceArgs, runtime_image

NAME = "serving-alias"
DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="128Mi")


def move_serving_alias(
    name: str,
    args: ModelServiceArgs,
    version: pulumi.Input[str],
    account: pulumi.Input[str],
    runtime: core.VolumeArgs | None,
    after: Sequence[pulumi.Resource],
    opts: pulumi.ResourceOptions,
) -> None:
    """Runs the Job `<name>-alias` once `after` exist, if `serving_alias` is set. A new `version` makes a new Job."""
    if "serving_alias" not in args or runtime is None:
        return
    job = f"{name}-alias"
    policy = egress_only_policy(job, NAME, name, args, opts, args["tracking_uri"])
    promote = container(
        "promote",
        runtime_image(args),
        variables={
            **VARIABLES,
            "MODELOPS_MODEL_URI": version,
            "MODELOPS_SERVING_ALIAS": args["serving_alias"],
            "MLFLOW_TRACKING_URI": args["tracking_uri"],
        },
        secrets=tracking_credentials(args.get("serving_alias_secret"), token=args.get("tracking_token")),
        command=runtime_command("promote"),
        resources=resource_requirements(args.get("helper_resources"), DEFAULT_RESOURCES),
        volume_mounts=[mount("tmp", "/tmp"), runtime_mount()],
    )
    registry_job(
        job,
        NAME,
        name,
        args["namespace"],
        promote,
        [scratch(), runtime],
        merged(opts, depends_on=list(after)),
        account=account,
        first=policy,
        args=args,
        deadline_seconds=PROGRESS_SECONDS,
        longest=PROGRESS_SECONDS,
    )
