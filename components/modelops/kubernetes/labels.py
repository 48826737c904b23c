"""The labels and annotations that every object of the library carries."""

import pulumi

PART_OF = "modelops"


def standard_labels(
    name: str, component: str, instance: str, version: pulumi.Input[str] | None = None
) -> dict[str, pulumi.Input[str]]:
    """Kubernetes' recommended labels.

    `name` is the program (prometheus), `component` its role (model-service), `instance` the Pulumi component's name,
    `version` that of what runs (a model's, mostly), which belongs on pods but never in a selector.
    """
    found: dict[str, pulumi.Input[str]] = {
        **selector(name, instance),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
    }
    if version is not None:
        found["app.kubernetes.io/version"] = version
    return found


def selector(name: str, instance: str) -> dict[str, pulumi.Input[str]]:
    """The labels that pick the pods of one instance; they never change, as selectors can't."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": instance}


def scrape(port: int, path: str = "/metrics", *, https: bool = False) -> dict[str, pulumi.Input[str]]:
    """Pod annotations by which Prometheus (this library's or another) finds where the metrics are."""
    found: dict[str, pulumi.Input[str]] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": path,
    }
    if https:
        found["prometheus.io/scheme"] = "https"
    return found
