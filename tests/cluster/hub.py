"""A Hub in a pod: answers as Hugging Face does for one repository."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.support import create, kubectl, remove

COMMIT = "1" * 40
TOKEN = "hf_of_the_team"
_PROGRAM = """
import hashlib, http.server, json, os, pathlib

COMMIT, TOKEN, NAME = os.environ["COMMIT"], os.environ["TOKEN"], os.environ["NAME"]
FILES = {path.name: path.read_bytes() for path in pathlib.Path("/files").iterdir() if path.is_file()}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        folder, _, name = self.path.partition("?")[0].rpartition("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if self.path.startswith(f"/api/models/{NAME}"):
            files = [{"rfilename": file, "size": len(content)} for file, content in FILES.items()]
            return self.send(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": files}).encode(), {})
        if folder == f"/{NAME}/resolve/{COMMIT}" and name in FILES:
            digest = hashlib.sha256(FILES[name]).hexdigest()
            return self.send(200, FILES[name], {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT})
        self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def send(self, status, body, headers):
        self.send_response(status)
        for header, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 443), Handler).serve_forever()
"""


@contextmanager
def hub(namespace: str, image: str, name: str, files: Path) -> Iterator[str]:
    """The name of a Secret with the Hub's address and a token that opens it.

    `image` has a `python3`. The repository `name` has the folder's files, less than a MiB together, at COMMIT.
    """
    meta = {"name": "hub", "namespace": namespace, "labels": {"app": "hub"}}
    container = {
        "name": "hub",
        "image": image,
        "command": ["python3", "-c", _PROGRAM],
        "env": [{"name": key, "value": value} for key, value in (("COMMIT", COMMIT), ("TOKEN", TOKEN), ("NAME", name))],
        "readinessProbe": {"tcpSocket": {"port": 443}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": "/files"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": "hub"}}],
    }
    data = {file.name: base64.b64encode(file.read_bytes()).decode() for file in files.iterdir()}
    told = {"HF_ENDPOINT": f"http://hub.{namespace}.svc:443", "HF_TOKEN": TOKEN}
    ports = {"selector": {"app": "hub"}, "ports": [{"port": 443}]}
    made = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": told},
    ]
    create(*made)
    try:
        kubectl("wait", "--namespace", namespace, "pod/hub", "--for=condition=Ready", "--timeout=90s")
        yield "hub"
    finally:
        remove(*made)
