"""A team with a cluster and a Prometheus of its own: everything goes to the cluster that the program names.

The service's pods carry the `prometheus.io/*` annotations. Where Prometheus looks for labels instead, a transformation
adds the team's.
"""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelService

config = pulumi.Config()
team: Mapping[str, str] = {"team": config.require("team")}


def labelled(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Adds the team's labels to the pods of every Deployment below the component."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    template: Any = args.props["spec"].template
    template.metadata.labels = pulumi.Output.from_input(template.metadata.labels).apply(lambda own: {**own, **team})
    return pulumi.ResourceTransformationResult(args.props, args.opts)


cluster = k8s.Provider("team", context=config.require("context"))
service = ModelService(
    "demo",
    {
        "namespace": config.require("namespace"),
        "image": config.require("image"),
        "model_uri": config.require("model_uri"),
        "tracking_uri": config.require("tracking_uri"),
        "autoscaling": {"min_replicas": 1, "max_replicas": 3},
    },
    pulumi.ResourceOptions(provider=cluster, transformations=[labelled]),
)
pulumi.export("url", service.url)
