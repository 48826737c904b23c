"""Contour from the Go module that tests/toolchain/gateway pins, steering Envoy, for as long as a test runs.

Both run in one pod, so that what Contour tells Envoy stays on the pod's own loopback.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from tests import toolchain
from tests.cluster import s3
from tests.cluster.serving.crds import crds, sources
from tests.cluster.support import apply, eventually, kubectl, objects, remove

CLASS = "contour"
ENVOY = "1.38.3"
"""The release that Contour's manifests name, as far as the package has it."""
_NAME = "gateway"
_CONTOUR = "github.com/projectcontour/contour"
_KINDS = ("gatewayclasses", "gateways", "httproutes", "referencegrants")
_GATEWAY_API = ("sigs.k8s.io/gateway-api", "config/crd/standard", _KINDS)
_METADATA = {"name": _NAME, "namespace": _NAME}
_GROUP = "rbac.authorization.k8s.io"
_LEFT_OUT = ("extensionservices", "tlsroutes", "grpcroutes", "tcproutes", "backendtlspolicies")
_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@contextmanager
def installed(gateway: Mapping[str, str] | None = None) -> Iterator[str]:
    """Makes Ingresses of the class `contour` work, or in their place the Gateway of that namespace and name.

    The Gateway may come later. Gives the address for requests.
    """
    settings = {"gateway": {"gatewayRef": gateway}} if gateway else {}
    manifests = [*_rights(), *_servers(json.dumps(settings))]
    with crds(_GATEWAY_API):
        try:
            apply(*_own_definitions())
            apply(*manifests)
            kubectl("rollout", "status", f"deployment/{_NAME}", "--namespace", _NAME, "--timeout=300s")
            yield eventually(_address, 120)
        finally:
            remove(*manifests)
            remove(*_own_definitions())


def predicted_over_https(address: str, host: str, authority: str) -> Any:
    """The prediction for 0.5, over TLS that checks the certificate and its name; None unless it is answered."""
    body = json.dumps({"inputs": [[0.5]]}).encode()
    head = f"POST /api/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    context = ssl.create_default_context(cadata=authority)
    with (
        socket.create_connection((address, 443), timeout=20) as plain,
        # The name has no address of its own here, so the connection is opened to the proxy's.
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return json.loads(answer.read())["outputs"] if answer.status == 200 else None


def _address() -> str:
    [service] = objects("services", _NAME)
    [entry] = service["status"]["loadBalancer"]["ingress"]
    return str(entry["ip"])


def _own_definitions() -> list[dict[str, Any]]:
    """Contour does not start without its own kinds, which nothing here uses."""
    file = sources("gateway", _CONTOUR) / "examples" / "contour" / "01-crds.yaml"
    return [found for found in yaml.safe_load_all(file.read_text()) if found]


def _rights() -> list[dict[str, Any]]:
    look = ["get", "list", "watch"]
    gateway = "gateway.networking.k8s.io"
    kinds = ["gatewayclasses", "gateways", "httproutes"]
    rules = [
        {"apiGroups": [""], "resources": ["configmaps", "namespaces", "secrets", "services"], "verbs": look},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": look},
        {"apiGroups": [gateway], "resources": [*kinds, "referencegrants"], "verbs": look},
        {"apiGroups": [gateway], "resources": [f"{kind}/status" for kind in kinds], "verbs": ["update"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": look},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["update"]},
        {"apiGroups": ["projectcontour.io"], "resources": ["*"], "verbs": look},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    account = {"kind": "ServiceAccount", **_METADATA}
    role = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": "modelops-test-gateway"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAME}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _METADATA},
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": role["name"]}, "rules": rules},
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role["name"]},
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
    ]


def _servers(settings: str) -> list[dict[str, Any]]:
    contour = s3.image(f"ghcr.io/projectcontour/contour:v{toolchain.version('gateway', _CONTOUR)}")
    configuration, admin = {"name": "configuration", "mountPath": "/config"}, {"name": "admin", "mountPath": "/admin"}
    bootstrap = {
        "name": "bootstrap",
        "image": contour,
        "command": ["/bin/contour"],
        "args": ["bootstrap", "/config/envoy.json", "--xds-address=127.0.0.1", "--xds-port=8001"],
        "volumeMounts": [configuration, admin],
        "securityContext": _SECURITY,
    }
    controller = {
        "name": "contour",
        "image": contour,
        "command": ["/bin/contour"],
        "args": [
            "serve",
            "--incluster",
            "--insecure",
            "--xds-address=127.0.0.1",
            "--xds-port=8001",
            "--disable-leader-election",
            "--config-path=/contour/contour.yaml",
            f"--ingress-class-name={CLASS}",
            f"--envoy-service-name={_NAME}",
            f"--envoy-service-namespace={_NAME}",
            *(f"--disable-feature={kind}" for kind in _LEFT_OUT),
        ],
        "env": [
            {"name": "CONTOUR_NAMESPACE", "value": _NAME},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "volumeMounts": [{"name": "contour", "mountPath": "/contour"}],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": _SECURITY,
    }
    proxy = {
        "name": "envoy",
        "image": s3.image(f"docker.io/envoyproxy/envoy:v{ENVOY}"),
        "command": [
            "envoy",
            "--config-path",
            "/config/envoy.json",
            "--service-cluster",
            _NAME,
            "--service-node",
            _NAME,
        ],
        "args": ["--log-level", "warning", "--concurrency", "1", "--disable-hot-restart"],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "https", "containerPort": 8443}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8002}, "periodSeconds": 2},
        "volumeMounts": [configuration, admin],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": _SECURITY,
    }
    pod = {
        "serviceAccountName": _NAME,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [bootstrap],
        "containers": [controller, proxy],
        "volumes": [
            {"name": "configuration", "emptyDir": {}},
            {"name": "admin", "emptyDir": {}},
            {"name": "contour", "configMap": {"name": _NAME}},
        ],
    }
    labels = {"app": _NAME}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _METADATA, "data": {"contour.yaml": settings}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _METADATA,
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _METADATA,
            "spec": {
                "type": "LoadBalancer",
                "selector": labels,
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "https", "port": 443, "targetPort": "https"},
                ],
            },
        },
    ]
