"""Remote write to a real receiver: a Prometheus that takes it by TLS, with a password, or with a token at a gate."""

import base64
import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from tests.certificates import make
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, eventually, forwarded, kubectl, platform_facts
from tests.cluster.training.registry import platform_image

pytestmark = [pytest.mark.clusters]

OFF = {"enabled": False}
NAME, PORT, GATE_PORT = "receiver", 9090, 9443
PASSWORD, TOKEN = "a-receiver-s-password", "a-receiver-s-token"
_HASH = "$2b$04$abcdefghijklmnopqrstuue8eFPV1VT.W3Q/bPKaXpvmv1zwHadKq"
"""The password's, by bcrypt, as Prometheus wants it."""
# Prometheus itself knows no tokens; Mimir, Thanos and managed services have something like this before them.
_GATE = f"""
import http.server, ssl, urllib.request, urllib.error
class Gate(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 401
        if self.headers["Authorization"] == "Bearer {TOKEN}":
            kept = {{key: value for key, value in self.headers.items() if key.lower() not in ("authorization", "host")}}
            request = urllib.request.Request("https://localhost:{PORT}/api/v1/write", body, kept)
            request.add_header("Authorization", "Basic {base64.b64encode(f"sender:{PASSWORD}".encode()).decode()}")
            trusted = ssl.create_default_context(cafile="/config/ca.crt")
            try:
                status = urllib.request.urlopen(request, context=trusted).status
            except urllib.error.HTTPError as error:
                status = error.code
        self.send_response(status); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", {GATE_PORT}), Gate)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/config/receiver.crt", "/config/receiver.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


def container(name: str, image: str, port: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"}],
        **fields,
    }


def start_receiver(namespace: str, image: str, gate_image: str) -> str:
    """Starts it; its CA's certificate."""
    files = make({NAME: [f"{NAME}.{namespace}.svc", "localhost"]})
    web = {
        "tls_server_config": {"cert_file": f"/config/{NAME}.crt", "key_file": f"/config/{NAME}.key"},
        "basic_auth_users": {"sender": _HASH},
    }
    texts = {"prometheus.yml": "scrape_configs: []\n", "web.yml": json.dumps(web)}
    metadata = {"name": NAME, "namespace": namespace, "labels": {"app": NAME}}
    flags = ["--config.file=/config/prometheus.yml", "--web.config.file=/config/web.yml", "--storage.tsdb.path=/data"]
    spec = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "containers": [
            container("prometheus", image, PORT, args=[*flags, "--web.enable-remote-write-receiver"]),
            container("gate", gate_image, GATE_PORT, command=["python3", "-c", _GATE]),
        ],
        "volumes": [{"name": "config", "secret": {"secretName": NAME}}, {"name": "data", "emptyDir": {}}],
    }
    ports = [{"name": "direct", "port": PORT}, {"name": "gate", "port": GATE_PORT}]
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "data": {key: base64.b64encode(value).decode() for key, value in files.items()},
            "stringData": texts,
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"{NAME}-{key}", "namespace": namespace},
                "stringData": {key: value},
            }
            for key, value in (("password", PASSWORD), ("token", TOKEN))
        ),
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": NAME}, "ports": ports},
        },
    )
    kubectl("wait", "--namespace", namespace, "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")
    return files["ca.crt"].decode()


def received(namespace: str, authority: str, query: str) -> list[dict[str, str]]:
    """The labels of the series that the receiver has."""
    with forwarded(namespace, f"pod/{NAME}", PORT) as local:
        address = f"https://localhost:{local}/api/v1/query?query={urllib.parse.quote(query)}"
        request = urllib.request.Request(address)
        request.add_header("Authorization", f"Basic {base64.b64encode(f'sender:{PASSWORD}'.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cadata=authority)) as found:
            return [each["metric"] for each in json.load(found)["data"]["result"]]


def test_samples_arrive_over_tls_by_a_password_and_by_a_token_each_with_its_metrics(
    namespace: str, stack: Stack, test_image: str
) -> None:
    facts = platform_facts()
    image = platform_image(facts, "prometheus")
    authority = start_receiver(namespace, image, test_image)
    host = f"https://{NAME}.{namespace}.svc"
    args: Any = {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "external_labels": {"cluster": "sender"},
        "prometheus": {
            "image": image,
            "retain_volume": False,
            "storage_size": "1Gi",
            "remote_write": [
                {
                    "url": f"{host}:{PORT}/api/v1/write",
                    "ca_certificate": authority,
                    "basic_auth": {"username": "sender", "secret": f"{NAME}-password"},
                    "metrics": "up",
                },
                {
                    "url": f"{host}:{GATE_PORT}/write",
                    "ca_certificate": authority,
                    "token_secret": f"{NAME}-token",
                    "metrics": "prometheus_build_info",
                },
            ],
        },
        "alertmanager": {
            "image": platform_image(facts, "alertmanager"), "retain_volume": False, "storage_size": "1Gi"
        },
        "node_exporter": OFF,
        "kube_state_metrics": OFF,
    }  # fmt: skip

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
        return {"prometheus_url": made.prometheus_url}

    stack.up(program)
    for metric in ("up", "prometheus_build_info"):
        series = eventually(lambda metric=metric: received(namespace, authority, f'{metric}{{cluster="sender"}}'), 120)
        assert {each["__name__"] for each in series} == {metric}
    every = received(namespace, authority, 'count by (__name__) ({cluster="sender"})')
    assert {each["__name__"] for each in every} == {"up", "prometheus_build_info"}, "each receiver has what it is sent"
    stack.unchanged(program)
