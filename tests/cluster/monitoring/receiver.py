"""A pod that takes webhooks and remembers them."""

import json
from typing import Any

from tests.cluster.support import apply, kubectl

NAME = "receiver"
TOKEN = "a token of tests"
_PROGRAM = """
import http.server, json, time
seen = []
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen.append({"at": time.time(), "authorization": self.headers.get("Authorization"), "body": body})
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def do_GET(self):
        text = json.dumps(seen).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Receiver).serve_forever()
"""


def start(namespace: str, image: str) -> str:
    """Starts it; the address that webhooks go to."""
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": NAME,
        "image": image,
        "command": ["python3", "-c", _PROGRAM],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    spec = {"securityContext": security, "automountServiceAccountToken": False, "containers": [container]}
    metadata = {"name": NAME, "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": {"app": NAME}}, "spec": spec}
    ports = {"selector": {"app": NAME}, "ports": [{"port": 8080}]}
    apply(pod, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": ports})
    kubectl("wait", "--namespace", namespace, "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")
    return f"http://{NAME}.{namespace}.svc:8080/"


def received(namespace: str) -> list[dict[str, Any]]:
    """Every webhook so far, with the time at which it came."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').read().decode())"
    return list(json.loads(kubectl("exec", "--namespace", namespace, NAME, "--", "python3", "-c", ask)))


def alerts(namespace: str, name: str, status: str = "firing") -> list[dict[str, Any]]:
    """The alerts of that name among them, each with `at`, when it first came."""
    return [
        {**alert, "at": webhook["at"], "authorization": webhook["authorization"]}
        for webhook in received(namespace)
        for alert in webhook["body"]["alerts"]
        if alert["labels"]["alertname"] == name and alert["status"] == status
    ]
