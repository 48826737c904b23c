"""A team's program, as it would write it: checked by mypy in strict mode, and run with mocks."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

import modelops

IMAGE = "registry.example.com/team/linear@sha256:" + "0" * 64


def larger(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Gives the service's pods a class that the component has no argument for."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    spec: Any = args.props["spec"]
    spec.template.spec.scheduler_name = "team-scheduler"
    return pulumi.ResourceTransformationResult(args.props, args.opts)


def program() -> modelops.ModelService:
    """A registry, a training and its service on one cluster."""
    cluster = pulumi.ResourceOptions(provider=k8s.Provider("cluster", context="team"))
    registry = modelops.ModelRegistry("registry", {"namespace": "models"}, cluster)
    gate: dict[str, modelops.GateBounds] = {"mse": {"max": 1.2}}
    training = modelops.TrainingJob(
        "train",
        {
            "namespace": "models",
            "model_name": "linear",
            "image": IMAGE,
            "framework": modelops.Framework.TENSORFLOW,
            "tracking_uri": registry.tracking_uri,
            "gate": gate,
        },
        cluster,
    )
    service = modelops.ModelService(
        "serve",
        {
            "namespace": "models",
            "image": IMAGE,
            "model_uri": training.model_uri,
            "tracking_uri": registry.tracking_uri,
            "autoscaling": {"max_replicas": 4},
        },
        pulumi.ResourceOptions.merge(cluster, pulumi.ResourceOptions(transformations=[larger])),
    )
    pulumi.export("predict_url", service.predict_url)
    return service
