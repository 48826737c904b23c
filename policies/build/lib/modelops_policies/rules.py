"""The rules."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelops_policies.resources import UNKNOWN, Level, Resource, Rule, at

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_LABELS = tuple(f"app.kubernetes.io/{word}" for word in ("name", "instance", "part-of", "managed-by"))
_UNLABELLED = {"Namespace", "CustomResourceDefinition", "List", "ConfigFile", "ConfigGroup", "Patch"}


def image_by_digest(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        image = container.get("image")
        if image != UNKNOWN and not _DIGEST.search(str(image or "")):
            yield f"{container.get('name')}: image is {image!r}; name it by digest (`…@sha256:…`), as tags can move"


def resources_set(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        missing = [
            ".".join(path)
            for path in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            if at(container, "resources", *path) is None
        ]
        if missing:
            yield f"{container.get('name')}: {', '.join(missing)} not set; set them, or one pod can starve the others"


def restricted(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    pod = resource.pod
    if pod is None:
        return
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host) is True:
            yield f"{host} is true; remove it"
    volumes = pod.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        if at(volume, "hostPath") is not None:
            yield f"volume {at(volume, 'name')} is a hostPath; use a claim, or exempt this resource"
    for container in resource.containers():
        for setting, required in (
            ("runAsNonRoot", True),
            ("allowPrivilegeEscalation", False),
            ("seccompProfile.type", "RuntimeDefault"),
        ):
            value = at(container, "securityContext", *setting.split("."))
            if value is None and setting != "allowPrivilegeEscalation":
                value = at(pod, "securityContext", *setting.split("."))
            if value not in (required, UNKNOWN) and (setting, value) != ("seccompProfile.type", "Localhost"):
                yield f"{container.get('name')}: securityContext.{setting} is {value!r}; set it to {required!r}"
        if at(container, "securityContext", "privileged") is True:
            yield f"{container.get('name')}: securityContext.privileged is true; remove it"
        dropped = at(container, "securityContext", "capabilities", "drop")
        if dropped != UNKNOWN and "ALL" not in (dropped or ()):
            yield f"{container.get('name')}: capabilities not dropped; set securityContext.capabilities.drop to ['ALL']"


def no_default_token(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    pod = resource.pod
    if pod is None:
        return
    account = pod.get("serviceAccountName") or pod.get("serviceAccount")
    if account in (None, "default") and pod.get("automountServiceAccountToken") not in (False, UNKNOWN):
        yield (
            "the namespace's default ServiceAccount token is mounted; set automountServiceAccountToken to false, or "
            "use a dedicated ServiceAccount"
        )


def probes(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        return
    for container in resource.containers(init=False):
        missing = [probe for probe in ("readinessProbe", "livenessProbe") if container.get(probe) is None]
        if container.get("ports") and missing:
            yield f"{container.get('name')}: {' and '.join(missing)} not set; set both, or dead pods receive traffic"


def disruption_budget(resource: Resource, stack: Sequence[Resource]) -> Iterator[str]:
    # Without `replicas` an autoscaler decides. A single replica can't survive a drain anyway.
    replicas = resource.at("spec", "replicas")
    if resource.kind not in ("Deployment", "StatefulSet") or replicas in (0, 1, UNKNOWN) or resource.template is None:
        return
    if replicas is None and not any(_scales(other, resource) for other in stack):
        return
    labels, namespace = at(resource.template, "metadata", "labels"), resource.at("metadata", "namespace")
    if labels == UNKNOWN:
        return
    for budget in stack:
        if budget.kind == "PodDisruptionBudget" and budget.at("metadata", "namespace") in (namespace, UNKNOWN):
            selector = budget.at("spec", "selector", "matchLabels")
            if selector == UNKNOWN or (selector and _selects(selector, labels or {})):
                return
    yield "no PodDisruptionBudget selects its pods; add one, or a node drain can evict all of them at once"


def _scales(scaler: Resource, resource: Resource) -> bool:
    name = scaler.at("spec", "scaleTargetRef", "name")
    return scaler.kind in ("HorizontalPodAutoscaler", "ScaledObject") and name in (
        resource.at("metadata", "name"),
        UNKNOWN,
    )


def _selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    return all(UNKNOWN in (value, labels.get(key)) or labels.get(key) == value for key, value in selector.items())


def public_tls(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind == "Service" and resource.at("spec", "type") == "LoadBalancer":
        ports = resource.at("spec", "ports")
        for port in ports if isinstance(ports, list) else ():
            if at(port, "port") not in (443, 8443, UNKNOWN):
                yield (
                    f"port {at(port, 'port')} of a LoadBalancer is not encrypted; put a TLS route in front of the "
                    "Service and make it ClusterIP, or exempt an internal load balancer"
                )
    if resource.kind == "Ingress" and not resource.at("spec", "tls"):
        yield "the Ingress has no TLS; set spec.tls with a certificate's Secret"
    if resource.kind == "Gateway":
        listeners = resource.at("spec", "listeners")
        for listener in listeners if isinstance(listeners, list) else ():
            if at(listener, "protocol") in ("HTTP", "TCP"):
                yield f"listener {at(listener, 'name')} is {at(listener, 'protocol')}; use HTTPS or TLS"


def training_gate(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        variables = container.get("env")
        for variable in variables if isinstance(variables, list) else ():
            if at(variable, "name") == "MODELOPS_GATE" and at(variable, "value") != UNKNOWN and not _bounds(variable):
                yield (
                    "the training has no gate, so any model that it produces is published; give TrainingJob a gate: "
                    '{"mse": {"max": 1.2}}'
                )


def _bounds(variable: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(variable.get("value") or "{}"))
    except ValueError:
        return False


def retention(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers(init=False):
        command = [*(container.get("command") or ()), *(container.get("args") or ())]
        words = [str(word) for word in command if word != UNKNOWN]
        is_prometheus = any(word.startswith("--storage.tsdb.path") for word in words)
        has_retention = any(word.startswith("--storage.tsdb.retention") for word in words)
        if is_prometheus and len(words) == len(command) and not has_retention:
            yield f"{container.get('name')}: no retention; set --storage.tsdb.retention.time to fit its volume"
    if resource.kind == "CronJob":
        for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            if resource.at("spec", field) is None:
                yield f"spec.{field} is not set; set how many finished Jobs to keep"


def labels(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if not resource.kind or resource.kind in _UNLABELLED or resource.kind.endswith("Patch"):
        return
    actual = resource.at("metadata", "labels")
    missing = [] if actual == UNKNOWN else [label for label in _LABELS if label not in (actual or {})]
    if missing:
        yield f"labels {', '.join(missing)} are missing; set them to show what the object belongs to"


RESOURCE_RULES = (
    Rule("image-by-digest", "Images are pinned by digest, because tags can move.", Level.MANDATORY, image_by_digest),
    Rule("resources-set", "Containers set CPU and memory requests and a memory limit.", Level.MANDATORY, resources_set),
    Rule("restricted", "Pods meet the restricted Pod Security Standard.", Level.MANDATORY, restricted),
    Rule("no-default-token", "No pod mounts the default ServiceAccount's token.", Level.MANDATORY, no_default_token),
    Rule("probes", "Containers that serve a port have readiness and liveness probes.", Level.ADVISORY, probes),
    Rule("public-tls", "Public endpoints use TLS.", Level.ADVISORY, public_tls),
    Rule("training-gate", "Every training has a gate that its model must pass.", Level.MANDATORY, training_gate),
    Rule("retention", "Whatever accumulates has a retention limit.", Level.ADVISORY, retention),
    Rule("labels", "Objects carry Kubernetes' recommended labels.", Level.ADVISORY, labels),
)
"""Rules that look at one resource."""

STACK_RULES = (
    Rule(
        "disruption-budget",
        "Workloads with several replicas have a PodDisruptionBudget.",
        Level.ADVISORY,
        disruption_budget,
    ),
)
"""Rules that look at the whole stack."""
