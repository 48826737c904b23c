"""prometheus-adapter, from the Go module that tests/toolchain/adapter pins, for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from modelops.core.assets import asset
from tests import toolchain
from tests.cluster import s3
from tests.cluster.support import apply, eventually, kubectl, remove

API = "v1beta1.custom.metrics.k8s.io"
NAME = "prometheus-adapter"
_ACCOUNT = {"kind": "ServiceAccount", "name": NAME, "namespace": NAME}
_ROLES = "rbac.authorization.k8s.io"


@contextmanager
def installed(prometheus_url: str) -> Iterator[None]:
    """Serves the metrics of the library's own rules to the autoscaler, and is removed again."""
    upstream = f"registry.k8s.io/{NAME}/{NAME}:v{toolchain.version('adapter', 'sigs.k8s.io/prometheus-adapter')}"
    manifests = [*_rights(), *_server(s3.image(upstream), prometheus_url)]
    try:
        apply(*manifests)
        kubectl("rollout", "status", f"deployment/{NAME}", "--namespace", NAME, "--timeout=300s")
        kubectl("wait", f"apiservice/{API}", "--for=condition=Available", "--timeout=120s")
        yield
    finally:
        remove(*manifests)


def value(namespace: str, metric: str) -> float | None:
    """A metric of the namespace's pods, the largest one, as the autoscaler reads it; None where there is none yet."""
    path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{metric}"
    found = yaml.safe_load(kubectl("get", "--raw", path, check=False) or "{}") or {}
    values = [str(item["value"]) for item in found.get("items", [])]
    return max((float(text[:-1]) / 1000 if text.endswith("m") else float(text) for text in values), default=None)


def known(namespace: str, metric: str) -> float:
    """The metric, waited for."""
    found: float = eventually(lambda: value(namespace, metric), 180)
    return found


def _rights() -> list[dict[str, Any]]:
    """Reads pods to name their metrics by, and asks the API server who its callers are."""

    def binding(kind: str, role_kind: str, role: str, **metadata: str) -> dict[str, Any]:
        return {
            "apiVersion": f"{_ROLES}/v1",
            "kind": kind,
            "metadata": {"name": f"{NAME}-{role.replace(':', '-')}", **metadata},
            "roleRef": {"apiGroup": _ROLES, "kind": role_kind, "name": role},
            "subjects": [_ACCOUNT],
        }

    rules = [{"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["get", "list", "watch"]}]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAME}},
        {"apiVersion": f"{_ROLES}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules},
        binding("ClusterRoleBinding", "ClusterRole", NAME),
        binding("ClusterRoleBinding", "ClusterRole", "system:auth-delegator"),
        binding("RoleBinding", "Role", "extension-apiserver-authentication-reader", namespace="kube-system"),
    ]


def _server(image: str, prometheus_url: str) -> list[dict[str, Any]]:
    labels = {"app": NAME}
    metadata = {"name": NAME, "namespace": NAME}
    container = {
        "name": "adapter",
        "image": image,
        "args": [
            f"--prometheus-url={prometheus_url}",
            "--config=/etc/adapter/rules.yaml",
            "--metrics-relist-interval=10s",
            "--secure-port=6443",
            "--cert-dir=/tmp/certificates",
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "rules", "mountPath": "/etc/adapter"}, {"name": "tmp", "mountPath": "/tmp"}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": 6443, "scheme": "HTTPS"},
            "periodSeconds": 2,
            "timeoutSeconds": 10,
        },
    }
    pod = {
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "rules", "configMap": {"name": NAME}}, {"name": "tmp", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    group, version = API.split(".", 1)[1], API.split(".", 1)[0]
    # The adapter makes itself a certificate; a test asks for no other.
    service = {"service": {"name": NAME, "namespace": NAME}, "insecureSkipTLSVerify": True}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"rules.yaml": asset("serving/assets/prometheus-adapter.yaml")},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 443, "targetPort": 6443}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                **service,
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]
