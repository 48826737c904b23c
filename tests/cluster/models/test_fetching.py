"""Models in an object store or at Hugging Face, fetched in a pod by the image that the target `fetch` makes."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService
from tests.cluster.models.test_sources import ONE, Place, model, place
from tests.cluster.s3 import ObjectStore
from tests.cluster.serving.support import image_args
from tests.cluster.support import apply, kubectl, platform_facts, post, remove

__all__ = ["model", "place"]
pytestmark = [pytest.mark.models, pytest.mark.long]

COMMIT = "1" * 40
HUB = """
import hashlib, http.server, json, pathlib

COMMIT = "1" * 40
FILES = {path.name: path.read_bytes() for path in pathlib.Path("/files").iterdir() if path.is_file()}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        folder, _, name = self.path.partition("?")[0].rpartition("/")
        if self.headers.get("Authorization") != "Bearer hf_of_the_team":
            return self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if self.path.startswith("/api/models/team/line"):
            files = [{"rfilename": file, "size": len(content)} for file, content in FILES.items()]
            return self.send(200, json.dumps({"id": "team/line", "sha": COMMIT, "siblings": files}).encode(), {})
        if folder == f"/team/line/resolve/{COMMIT}" and name in FILES:
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
"""Answers as the Hub does for one repository, `team/line`, with the files of a folder."""


@pytest.fixture(scope="module")
def fetch_image(place: Place) -> str:
    args = image_args(platform_facts(), "fetch")
    stack = place.stack("fetch-image")
    stack.up(lambda _: {"image": ModelImage("fetch", args).ref})  # type: ignore[arg-type]
    return str(stack.outputs()["image"])


def answers(place: Place, name: str, image: str, **source: Any) -> None:
    """Serves the model of that source, and checks what it answers and what it says that it is."""

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = place.args(runtime_image=image, **source)
        return {"url": ModelService(name, args, pulumi.ResourceOptions(provider=provider)).predict_url}

    stack = place.stack(name)
    try:
        stack.up(program)
        assert post(stack.outputs()["url"], ONE) == (200, {"outputs": [4.0]})
        stack.unchanged(program)
    finally:
        stack.destroy(succeed=None)


def test_an_object_store_brings_a_model(place: Place, fetch_image: str, model: Path, object_store: ObjectStore) -> None:
    for file in model.iterdir():
        object_store.put(f"line/v7/{file.name}", file.read_bytes())
    source = {"model_uri": f"s3://{object_store.bucket}/line/v7", "model_endpoint_url": object_store.endpoint}
    secret = object_store.credentials(place.namespace)
    answers(place, "stored", fetch_image, **source, model_secret=secret)


@pytest.fixture
def hub(place: Place, model: Path) -> Iterator[str]:
    """The name of a Secret with the Hub's address and a token that opens it."""
    meta = {"name": "hub", "namespace": place.namespace, "labels": {"app": "hub"}}
    files = {file.name: file.read_bytes() for file in model.iterdir()}
    container = {
        "name": "hub",
        "image": place.image,
        "command": ["python3", "-c", HUB],
        "readinessProbe": {"tcpSocket": {"port": 443}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": "/files"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    volume = {"name": "files", "configMap": {"name": "hub"}}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": user,
        "containers": [container],
        "volumes": [volume],
    }
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    told = {"HF_ENDPOINT": f"http://hub.{place.namespace}.svc:443", "HF_TOKEN": "hf_of_the_team"}
    made = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "hub"}, "ports": [{"port": 443}]},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": told},
    ]
    apply(*made)
    kubectl("wait", "--namespace", place.namespace, "pod/hub", "--for=condition=Ready", "--timeout=90s")
    yield "hub"
    remove(*made)


def test_hugging_face_brings_a_model(place: Place, fetch_image: str, hub: str) -> None:
    answers(place, "hugged", fetch_image, model_uri=f"hf://team/line@{COMMIT}", model_secret=hub)
