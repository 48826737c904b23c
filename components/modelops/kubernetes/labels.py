"""The labels and annotations of the library's objects."""

from collections.abc import Mapping

import pulumi

PART_OF = "modelops"


def standard_labels(
    name: str, component: str, instance: str, version: pulumi.Input[str] | None = None
) -> dict[str, pulumi.Input[str]]:
    """Kubernetes' recommended labels.

    `name` is the program (prometheus), `component` its role (model-service), `instance` the Pulumi component's name.
    `version` is mostly the model's; it belongs on pods, never in a selector.
    """
    labels: dict[str, pulumi.Input[str]] = {
        **selector(name, instance),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
    }
    if version is not None:
        labels["app.kubernetes.io/version"] = version
    return labels


def selector(name: str, instance: str) -> dict[str, pulumi.Input[str]]:
    """The labels that select the pods of one instance. They never change, because selectors can't."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": instance}


def selecting(labels: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """The labels as a query of the API server has them: `key=value,…`."""
    return pulumi.Output.all(*(pulumi.Output.concat(key, "=", value) for key, value in labels.items())).apply(",".join)


def scrape(port: int, path: str = "/metrics", *, https: bool = False) -> dict[str, pulumi.Input[str]]:
    """Pod annotations that tell Prometheus (this library's or another) where the metrics are."""
    annotations: dict[str, pulumi.Input[str]] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": path,
    }
    if https:
        annotations["prometheus.io/scheme"] = "https"
    return annotations
