"""Lets the registry know which version serves: a Job after the rollout that moves an alias of the registered model.

Only the end of a rollout makes it true that a version serves. So neither the training sets the alias, which comes
before the rollout, nor a pod at its start, which may be the only one that ever gets ready.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from modelops._labels import labels, selector
from modelops._network import allow_egress, net, port_of
from modelops._pods import (
    Sizes,
    container,
    core,
    mount,
    pull_secrets,
    resource_requirements,
    restricted_pod,
    scratch,
    tracking_credentials,
)
from modelops._service_args import ModelServiceArgs

NAME = "serving-alias"
DEFAULT_ALIAS = "serving"
SIZES = Sizes(cpu="20m", memory="64Mi", memory_limit="128Mi")
DEADLINE_SECONDS = 300


def mark_serving(
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
    wanted = args["serving_alias"]
    described = labels(NAME, NAME, name)
    job = f"{name}-alias"
    port = pulumi.Output.from_input(args["tracking_uri"]).apply(port_of)
    net.NetworkPolicy(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=job, namespace=args["namespace"], labels=described),
        spec=net.NetworkPolicySpecArgs(
            pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
            policy_types=["Ingress", "Egress"],
            egress=[allow_egress(port)],
        ),
        opts=opts,
    )
    promote = container(
        "promote",
        args["image"],
        variables={
            "MODELOPS_MODEL_URI": version,
            "MODELOPS_SERVING_ALIAS": wanted.get("alias", DEFAULT_ALIAS),
            "MLFLOW_TRACKING_URI": args["tracking_uri"],
        },
        secrets=tracking_credentials(wanted.get("tracking_secret")),
        command=["python", "-m", "model.promote"],
        resources=resource_requirements(None, SIZES),
        volume_mounts=[mount("tmp", "/tmp")],
    )
    spec = core.PodSpecArgs(
        restart_policy="Never",
        service_account_name=account,
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=restricted_pod(),
        image_pull_secrets=pull_secrets(args.get("image_pull_secret")),
        volumes=[scratch()],
        containers=[promote],
    )
    k8s.batch.v1.Job(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            namespace=args["namespace"], labels=described, annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=0,
            active_deadline_seconds=DEADLINE_SECONDS,
            template=core.PodTemplateSpecArgs(metadata=k8s.meta.v1.ObjectMetaArgs(labels=described), spec=spec),
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(after))),
    )
