"""Lets the registry know which version serves: a Job after the rollout that moves an alias of the registered model.

Only the end of a rollout makes it true that a version serves. So neither the training sets the alias, which comes
before the rollout, nor a pod at its start, which may be the only one that ever gets ready.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from modelops.core.outputs import merged
from modelops.kubernetes.jobs import egress_only_policy, registry_job
from modelops.kubernetes.network import port_of
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    mount,
    resource_requirements,
    scratch,
    tracking_credentials,
)
from modelops.serving.args import ModelServiceArgs

NAME = "serving-alias"
DEFAULT_RESOURCES = DefaultResources(cpu="20m", memory="64Mi", memory_limit="128Mi")
DEADLINE_SECONDS = 300


def move_serving_alias(
    name: str,
    args: ModelServiceArgs,
    version: pulumi.Input[str],
    account: pulumi.Input[str],
    after: Sequence[pulumi.Resource],
    opts: pulumi.ResourceOptions,
) -> None:
    """The Job `<name>-alias`, if the arguments ask for it, once `after` are there. Another `version` makes another."""
    if "serving_alias" not in args:
        return
    job = f"{name}-alias"
    port = pulumi.Output.from_input(args["tracking_uri"]).apply(port_of)
    egress_only_policy(job, NAME, name, args["namespace"], opts, port)
    promote = container(
        "promote",
        args.get("runtime_image", args["image"]),
        variables={
            "MODELOPS_MODEL_URI": version,
            "MODELOPS_SERVING_ALIAS": args["serving_alias"],
            "MLFLOW_TRACKING_URI": args["tracking_uri"],
        },
        secrets=tracking_credentials(args.get("serving_alias_secret")),
        command=["python", "-m", "modelops_runtime", "promote"],
        resources=resource_requirements(None, DEFAULT_RESOURCES),
        volume_mounts=[mount("tmp", "/tmp")],
    )
    registry_job(
        job,
        NAME,
        name,
        args["namespace"],
        promote,
        [scratch()],
        merged(opts, depends_on=list(after)),
        account=account,
        args=args,
        deadline_seconds=DEADLINE_SECONDS,
    )
