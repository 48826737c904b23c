"""The rules."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelops_policies.pods import Pod
from modelops_policies.resources import Level, Resource, Rule
from modelops_policies.restricted import problems
from modelops_policies.values import UNKNOWN, at

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_LABELS = tuple(f"app.kubernetes.io/{word}" for word in ("name", "instance", "part-of", "managed-by"))
_UNLABELLED = {"Namespace", "CustomResourceDefinition", "Release"}
_REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Rollout")
_SERVERS = (*_REPLICATED, "DaemonSet", "LeaderWorkerSet")
_BOUNDS = ("min", "max", "min_delta", "max_delta")
"""What a gate can say of a metric."""


def image_by_digest(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for pod in resource.pods:
        for container in pod.containers():
            image = container.get("image")
            if image is None and not pod.whole:
                continue
            if image != UNKNOWN and not _DIGEST.search(str(image or "")):
                yield f"{container.get('name')}: image is {image!r}; name it by digest (`…@sha256:…`), as tags can move"


def resources_set(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for pod in resource.pods:
        # An ephemeral container can't have any.
        for container in pod.containers("initContainers", "containers") if pod.whole else ():
            missing = [
                name for name in ("requests.cpu", "requests.memory", "limits.memory") if not _set(name, container, pod)
            ]
            if missing:
                yield (
                    f"{container.get('name')}: {', '.join(missing)} not set; set them, or one pod can starve the others"
                )


def _set(name: str, container: Mapping[str, Any], pod: Pod) -> bool:
    """Whether a container or its pod sets it. A request defaults to its limit."""
    path = name.split(".")
    paths = (path, ["limits", path[1]])
    return any(at(each, "resources", *path) is not None for each in (container, pod.spec) for path in paths)


def restricted(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind == "Release" and resource.at("manifest") is None:
        yield (
            "what the chart of a Helm Release deploys is not judged, only its values are; deploy it as "
            "`kubernetes.helm.v4.Chart`, or exempt this resource"
        )
    for pod in resource.pods:
        yield from problems(pod)


def no_default_token(resource: Resource, stack: Sequence[Resource]) -> Iterator[str]:
    if any(_gives_no_token(other, resource) for other in stack):
        return
    for pod in resource.pods:
        account = pod.spec.get("serviceAccountName") or pod.spec.get("serviceAccount")
        mounted = pod.spec.get("automountServiceAccountToken")
        if account in (None, "default") and pod.whole and mounted not in (False, UNKNOWN):
            yield (
                "the namespace's default ServiceAccount token is mounted; set automountServiceAccountToken to false, "
                "or use a dedicated ServiceAccount"
            )


def _gives_no_token(account: Resource, resource: Resource) -> bool:
    """Whether it is the default account of the resource's namespace, without a token for its pods."""
    return (
        account.kind.removesuffix("Patch") == "ServiceAccount"
        and account.at("metadata", "name") in ("default", UNKNOWN)
        and account.at("automountServiceAccountToken") is False
        and _same_namespace(account, resource)
    )


def _same_namespace(one: Resource, other: Resource) -> bool:
    names = [each.at("metadata", "namespace") or "default" for each in (one, other)]
    return UNKNOWN in names or names[0] == names[1]


def probes(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind not in _SERVERS:
        return
    for pod in resource.pods:
        for container in pod.containers("containers"):
            missing = [probe for probe in ("readinessProbe", "livenessProbe") if container.get(probe) is None]
            if container.get("ports") and missing:
                names = " and ".join(missing)
                yield f"{container.get('name')}: {names} not set; set both, or dead pods receive traffic"


def disruption_budget(resource: Resource, stack: Sequence[Resource]) -> Iterator[str]:
    # Without `replicas` an autoscaler decides. A single replica can't survive a drain anyway.
    replicas = resource.at("spec", "replicas")
    if resource.kind not in _REPLICATED or replicas in (0, 1, UNKNOWN) or not resource.pods:
        return
    if replicas is None and not any(_scales(other, resource) for other in stack):
        return
    labels = at(resource.pods[0].metadata, "labels")
    if labels == UNKNOWN:
        return
    for budget in stack:
        nearby = budget.kind == "PodDisruptionBudget" and _same_namespace(budget, resource)
        if nearby and _selects(budget.at("spec", "selector"), labels or {}):
            return
    yield "no PodDisruptionBudget selects its pods; add one, or a node drain can evict all of them at once"


def _scales(scaler: Resource, resource: Resource) -> bool:
    name = scaler.at("spec", "scaleTargetRef", "name")
    return scaler.kind in ("HorizontalPodAutoscaler", "ScaledObject") and name in (
        resource.at("metadata", "name"),
        UNKNOWN,
    )


def _selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether a label selector matches, as far as it is known. An empty one selects every pod, a missing one none."""
    if selector == UNKNOWN or selector == {}:
        return True
    wanted, expressions = (at(selector, key) for key in ("matchLabels", "matchExpressions"))
    if isinstance(wanted, Mapping) and not all(_is(labels, key, [value]) for key, value in wanted.items()):
        return False
    if isinstance(expressions, list) and not all(_holds(each, labels) for each in expressions):
        return False
    return bool(wanted or expressions)


def _holds(expression: Any, labels: Mapping[str, Any]) -> bool:
    key, operator, values = (at(expression, name) for name in ("key", "operator", "values"))
    if UNKNOWN in (key, operator, values):
        return True
    there = key in labels
    return {
        "In": there and _is(labels, key, values or ()),
        "NotIn": not there or labels[key] == UNKNOWN or labels[key] not in (values or ()),
        "Exists": there,
        "DoesNotExist": not there,
    }.get(operator, False)


def _is(labels: Mapping[str, Any], key: str, values: Sequence[Any]) -> bool:
    return UNKNOWN in (*values, labels.get(key)) or labels.get(key) in values


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
    for container in _containers(resource):
        variables = container.get("env")
        for variable in variables if isinstance(variables, list) else ():
            if at(variable, "name") == "MODELOPS_GATE" and at(variable, "value") != UNKNOWN and not _bounds(variable):
                yield (
                    "the training has no gate, so any model that it produces is published; give TrainingJob a gate: "
                    '{"mse": {"max": 1.2}}'
                )


def _bounds(variable: Mapping[str, Any]) -> bool:
    """Whether a gate bounds any metric."""
    try:
        gate = json.loads(variable.get("value") or "{}")
    except ValueError:
        return False
    metrics = gate.values() if isinstance(gate, Mapping) else ()
    bounds = [bound for metric in metrics if isinstance(metric, Mapping) for bound in map(metric.get, _BOUNDS)]
    return any(isinstance(bound, int | float) and math.isfinite(bound) for bound in bounds)


def retention(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in _containers(resource):
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


def _containers(resource: Resource) -> Iterator[Mapping[str, Any]]:
    for pod in resource.pods:
        yield from pod.containers()


def labels(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if not resource.kind or resource.kind in _UNLABELLED or resource.kind.endswith(("Patch", "List")):
        return
    actual = resource.at("metadata", "labels")
    missing = [] if actual == UNKNOWN else [label for label in _LABELS if label not in (actual or {})]
    if missing:
        yield f"labels {', '.join(missing)} are missing; set them to show what the object belongs to"


RESOURCE_RULES = (
    Rule("image-by-digest", "Images are pinned by digest, because tags can move.", Level.MANDATORY, image_by_digest),
    Rule("resources-set", "Containers set CPU and memory requests and a memory limit.", Level.MANDATORY, resources_set),
    Rule("restricted", "Pods meet the restricted Pod Security Standard.", Level.MANDATORY, restricted),
    Rule("probes", "Containers that serve a port have readiness and liveness probes.", Level.ADVISORY, probes),
    Rule("public-tls", "Public endpoints use TLS.", Level.ADVISORY, public_tls),
    Rule("training-gate", "Every training has a gate that its model must pass.", Level.MANDATORY, training_gate),
    Rule("retention", "Whatever accumulates has a retention limit.", Level.ADVISORY, retention),
    Rule("labels", "Objects carry Kubernetes' recommended labels.", Level.ADVISORY, labels),
)
"""Rules that look at one resource."""

STACK_RULES = (
    Rule("no-default-token", "No pod mounts the default ServiceAccount's token.", Level.MANDATORY, no_default_token),
    Rule(
        "disruption-budget",
        "Workloads with several replicas have a PodDisruptionBudget.",
        Level.ADVISORY,
        disruption_budget,
    ),
)
"""Rules that look at the whole stack."""
