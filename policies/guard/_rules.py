"""The rules."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guard._resources import UNKNOWN, Level, Resource, Rule, at

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_LABELS = tuple(f"app.kubernetes.io/{word}" for word in ("name", "instance", "part-of", "managed-by"))
_UNLABELLED = {"Namespace", "CustomResourceDefinition", "List", "ConfigFile", "ConfigGroup", "Patch"}


def image_by_digest(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        image = container.get("image")
        if image != UNKNOWN and not _DIGEST.search(str(image or "")):
            yield f"{container.get('name')}: image is {image!r}; name it by digest (`…@sha256:…`), for a tag may move"


def resources_set(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        missing = [
            ".".join(path)
            for path in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
            if at(container, "resources", *path) is None
        ]
        if missing:
            yield f"{container.get('name')}: {', '.join(missing)} not set; set resources, or one pod starves the others"


def restricted(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    pod = resource.pod
    if pod is None:
        return
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host) is True:
            yield f"{host} is true; leave it out"
    volumes = pod.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        if at(volume, "hostPath") is not None:
            yield f"volume {at(volume, 'name')} is a hostPath; take a claim, or exempt this resource"
    for container in resource.containers():
        for setting, wanted, path in (
            ("runAsNonRoot", True, ("runAsNonRoot",)),
            ("allowPrivilegeEscalation", False, ("allowPrivilegeEscalation",)),
            ("seccompProfile.type", "RuntimeDefault", ("seccompProfile", "type")),
        ):
            given = at(container, "securityContext", *path)
            if given is None and setting != "allowPrivilegeEscalation":
                given = at(pod, "securityContext", *path)
            if given not in (wanted, UNKNOWN) and (setting, given) != ("seccompProfile.type", "Localhost"):
                yield f"{container.get('name')}: securityContext.{setting} is {given!r}; set it to {wanted!r}"
        if at(container, "securityContext", "privileged") is True:
            yield f"{container.get('name')}: securityContext.privileged is true; leave it out"
        dropped = at(container, "securityContext", "capabilities", "drop")
        if dropped != UNKNOWN and "ALL" not in (dropped or ()):
            yield f"{container.get('name')}: capabilities are kept; set securityContext.capabilities.drop to ['ALL']"


def no_default_token(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    pod = resource.pod
    if pod is None:
        return
    account = pod.get("serviceAccountName") or pod.get("serviceAccount")
    if account in (None, "default") and pod.get("automountServiceAccountToken") not in (False, UNKNOWN):
        yield (
            "the token of the namespace's default ServiceAccount is mounted; set automountServiceAccountToken to "
            "false, or name an account of its own"
        )


def probes(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        return
    for container in resource.containers(init=False):
        missing = [probe for probe in ("readinessProbe", "livenessProbe") if container.get(probe) is None]
        if container.get("ports") and missing:
            yield f"{container.get('name')}: {' and '.join(missing)} not set; set both, or traffic goes to dead pods"


def disruption_budget(resource: Resource, stack: Sequence[Resource]) -> Iterator[str]:
    # Without `replicas` an autoscaler decides. One replica can't be kept up through a drain anyway.
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
            wanted = budget.at("spec", "selector", "matchLabels")
            if wanted == UNKNOWN or (wanted and _selects(wanted, labels or {})):
                return
    yield "no PodDisruptionBudget selects its pods; add one, or a drained node takes all of them at once"


def _scales(scaler: Resource, resource: Resource) -> bool:
    name = scaler.at("spec", "scaleTargetRef", "name")
    return scaler.kind in ("HorizontalPodAutoscaler", "ScaledObject") and name in (
        resource.at("metadata", "name"),
        UNKNOWN,
    )


def _selects(wanted: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    return all(UNKNOWN in (value, labels.get(key)) or labels.get(key) == value for key, value in wanted.items())


def public_tls(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if resource.kind == "Service" and resource.at("spec", "type") == "LoadBalancer":
        ports = resource.at("spec", "ports")
        for port in ports if isinstance(ports, list) else ():
            if at(port, "port") not in (443, 8443, UNKNOWN):
                yield (
                    f"port {at(port, 'port')} of a LoadBalancer is not encrypted; put a route with TLS before the "
                    "service and make it ClusterIP, or exempt a load balancer that is internal"
                )
    if resource.kind == "Ingress" and not resource.at("spec", "tls"):
        yield "the Ingress has no TLS; set spec.tls with the Secret of a certificate"
    if resource.kind == "Gateway":
        listeners = resource.at("spec", "listeners")
        for listener in listeners if isinstance(listeners, list) else ():
            if at(listener, "protocol") in ("HTTP", "TCP"):
                yield f"listener {at(listener, 'name')} is {at(listener, 'protocol')}; take HTTPS or TLS"


def training_gate(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers():
        several = container.get("env")
        for variable in several if isinstance(several, list) else ():
            if at(variable, "name") == "MODELOPS_GATE" and at(variable, "value") != UNKNOWN and not _bounds(variable):
                yield (
                    "the training has no gate, so any model it ends with is released; give TrainingJob a gate: "
                    '{"mse": {"max": 1.2}}'
                )


def _bounds(variable: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(variable.get("value") or "{}"))
    except ValueError:
        return False


def retention(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    for container in resource.containers(init=False):
        given = [*(container.get("command") or ()), *(container.get("args") or ())]
        words = [str(word) for word in given if word != UNKNOWN]
        stores = any(word.startswith("--storage.tsdb.path") for word in words)
        if stores and len(words) == len(given) and not any(w.startswith("--storage.tsdb.retention") for w in words):
            yield f"{container.get('name')}: no retention; set --storage.tsdb.retention.time, sized against its volume"
    if resource.kind == "CronJob":
        for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            if resource.at("spec", field) is None:
                yield f"spec.{field} is not set; say how many finished Jobs are kept"


def labels(resource: Resource, _: Sequence[Resource]) -> Iterator[str]:
    if not resource.kind or resource.kind in _UNLABELLED or resource.kind.endswith("Patch"):
        return
    given = resource.at("metadata", "labels")
    missing = [] if given == UNKNOWN else [label for label in _LABELS if label not in (given or {})]
    if missing:
        yield f"labels {', '.join(missing)} are missing; set them, so that it is known whose it is"


RESOURCE_RULES = (
    Rule("image-by-digest", "Images are named by digest: a tag may move.", Level.MANDATORY, image_by_digest),
    Rule("resources-set", "Containers say what they need, in requests and limits.", Level.MANDATORY, resources_set),
    Rule("restricted", "Pods keep the restricted Pod Security Standard.", Level.MANDATORY, restricted),
    Rule("no-default-token", "No pod gets the default ServiceAccount's token.", Level.MANDATORY, no_default_token),
    Rule("probes", "What serves on a port has readiness and liveness probes.", Level.ADVISORY, probes),
    Rule("public-tls", "What is public is encrypted.", Level.ADVISORY, public_tls),
    Rule("training-gate", "A training has a gate that its model must pass.", Level.MANDATORY, training_gate),
    Rule("retention", "What collects says how long it keeps.", Level.ADVISORY, retention),
    Rule("labels", "Objects have Kubernetes' recommended labels.", Level.ADVISORY, labels),
)
"""Rules about one resource alone."""

STACK_RULES = (
    Rule("disruption-budget", "Several replicas have a PodDisruptionBudget.", Level.ADVISORY, disruption_budget),
)
"""Rules about a resource among the others."""
