"""What the tests of canaries share: a Prometheus that scrapes the serving pods, faulty images, the analysis record."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pulumi
import pulumi_kubernetes as k8s

from modelops import UPSTREAM_IMAGES, ModelImage, ModelService, MonitoringStack
from tests.cluster.support import kubectl

FOLDER = Path(__file__).parent
OFF = {"enabled": False}


@dataclass(frozen=True)
class CanarySetup:
    """The Prometheus that analyses query, and the images of canaries with a fault."""

    prometheus_url: str
    errors: str
    slow: str


def faulty_image(base: str, facts: Mapping[str, Any], fault: str) -> pulumi.Output[str]:
    """The serving image with a fault, `errors` or `slow`."""
    build: dict[str, Any] = {
        "context": str(FOLDER / "faulty"),
        "repository": f"{facts['registry']}/serving-tests-faulty",
        "build_args": {"BASE": base, "FAULT": fault},
    }
    if facts.get("builder"):
        build["builder_name"] = facts["builder"]
    return ModelImage(fault, build).ref  # type: ignore[arg-type]


def services_program(
    services: Mapping[str, Mapping[str, Any]],
) -> Callable[[k8s.Provider], Mapping[str, Any]]:
    """Services by name, each with its arguments; exports `<name>_url` and `<name>_status`."""

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        outputs: dict[str, Any] = {}
        for name, args in services.items():
            service = ModelService(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
            outputs |= {f"{name}_url": service.predict_url, f"{name}_status": service.canary_status}
        return outputs

    return build


class Served(Protocol):
    """Where something serves."""

    @property
    def namespace(self) -> str: ...

    @property
    def image(self) -> str: ...


def prometheus_program(
    name: str, serving: Served, facts: Mapping[str, Any], faults: Sequence[str] = ()
) -> Callable[[k8s.Provider], Mapping[str, Any]]:
    """Prometheus alone, under a name that no other stack uses, and an image for each of the faults."""
    upstream = UPSTREAM_IMAGES["prometheus"]
    monitoring: dict[str, Any] = {
        "namespace": serving.namespace,
        "watched_namespaces": [serving.namespace],
        "prometheus": {
            "image": facts.get("images", {}).get(upstream, upstream),
            "storage_size": "1Gi",
            "resources": {"cpu": "20m", "memory": "256Mi", "memory_limit": "1Gi"},
        },
        **dict.fromkeys(("alertmanager", "node_exporter", "kube_state_metrics"), OFF),
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        stack = MonitoringStack(name, monitoring, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
        return {
            "prometheus_url": stack.prometheus_url,
            **{fault: faulty_image(serving.image, facts, fault) for fault in faults},
        }

    return program


def analysis_record(namespace: str, service: str) -> dict[str, Any]:
    """The record of a service's analysis so far."""
    found = json.loads(kubectl("get", "configmap", f"{service}-canary", "--namespace", namespace, "--output", "json"))
    return dict(json.loads((found.get("data") or {}).get("analysis.json", "{}")))


def write_analysis_record(namespace: str, service: str, verdict: str, **versions: str) -> None:
    """Writes what the analysis would; `versions` are the model URIs `declared`, `stable` and `canary`."""
    entry: dict[str, Any] = {key: {"model_uri": uri, "image": ""} for key, uri in versions.items()}
    entry |= {"verdict": verdict, "reason": "the test says so", "figures": {}}
    patch = json.dumps({"data": {"analysis.json": json.dumps(entry)}})
    kubectl("patch", "configmap", f"{service}-canary", "--namespace", namespace, "--patch", patch)
