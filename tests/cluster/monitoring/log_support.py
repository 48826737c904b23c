"""What the tests of the log pipeline share: the images, and an Elasticsearch that is real but for what it lacks."""

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devkit import embedded, engine, images
from modelops import UPSTREAM_IMAGES
from tests import toolchain
from tests.certificates import make
from tests.cluster.support import eventually, exposure, kubectl, platform_facts
from tests.cluster.training.registry import platform_image

HERE = Path(__file__).resolve().parent
PASSWORDS = {"admin": "an admin of tests", "writer": "a writer of tests"}
NAME = "elasticsearch"
URL = f"https://{NAME}:9243"
PREFIX = "modelops-logs-"


def build(target: str, base_image: str, contexts: Mapping[str, Path]) -> str:
    """Builds an image of the folder of that name, beside this file."""
    folder = HERE / target
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    content = b"\0".join(part for file in files for part in (file.name.encode(), file.read_bytes()))
    content += "\0".join([base_image, *(path.name for path in contexts.values())]).encode()
    registry = embedded.REGISTRY
    with_program = images.Builder(
        engine.bin_folder() / "buildctl", embedded.buildkit_address(), registry, base_image, programs=lambda: HERE
    )
    return images.build(folder, f"{target}-for-tests", content, {"BASE_IMAGE": base_image}, contexts, with_program)


@dataclass(frozen=True)
class Images:
    """Images of the programs under test."""

    filebeat: str
    elasticsearch: str
    prometheus: str
    expose: str
    """How the platform lets clients outside reach a Service."""


def log_images(platform_env: Mapping[str, str]) -> Images:
    """Filebeat, the upstream one where it can be pulled, and the test's Elasticsearch."""
    facts = platform_facts()
    if facts["cluster"] != "embedded" or not facts["base_image"]:
        pytest.skip("the images of these tests are built by the embedded platform's builder")
    base, filebeat = facts["base_image"], UPSTREAM_IMAGES["filebeat"]
    if images.check([filebeat]):
        programs = toolchain.build("beats")
        filebeat = build("filebeat", base, {"programs": programs})
    return Images(filebeat, build("elasticsearch", base, {}), platform_image(facts, "prometheus"), exposure())


class Elasticsearch:
    """The test's Elasticsearch in a namespace."""

    def __init__(self, namespace: str, image: str) -> None:
        self.namespace = namespace
        self.files = make({"server": [NAME, f"{NAME}.{namespace}.svc", "localhost"]})
        self._apply(image)
        eventually(lambda: self.control("ready")["up"], 300)

    @property
    def authority(self) -> str:
        """The certificate that clients need."""
        return self.files["ca.crt"].decode()

    def _apply(self, image: str) -> None:
        manifests = _manifests(self.namespace, image, self.files)
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        subprocess.run(["kubectl", "apply", "-f", "-"], input=document, text=True, check=True, capture_output=True)
        kubectl("-n", self.namespace, "rollout", "status", f"deployment/{NAME}", "--timeout=300s")

    def _inside(self, *command: str) -> str:
        return kubectl("-n", self.namespace, "exec", f"deployment/{NAME}", "--", *command)

    def control(self, what: str) -> Any:
        """`start`, `stop`, `ready`, `record` or `password/USER/PASSWORD`."""
        try:
            return json.loads(self._inside("curl", "-s", "-m", "200", f"http://127.0.0.1:9250/{what}"))
        except (AssertionError, ValueError) as error:
            raise OSError(f"no answer yet: {error}") from error

    def ask(self, path: str, body: object = None) -> Any:
        """Queries the node itself, past the proxy."""
        arguments = ["curl", "-s", "-m", "60", f"http://127.0.0.1:9200{path}"]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        try:
            return json.loads(self._inside(*arguments))
        except (AssertionError, ValueError) as error:
            raise OSError(f"no answer yet: {error}") from error

    def lines(self, query: Mapping[str, Any], size: int = 1000, only: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Documents of the streams that match; `only` names the fields that are wanted."""
        self.ask(f"/{PREFIX}*/_refresh")
        asked = {"query": query, "size": size, **({"_source": list(only)} if only else {})}
        found = self.ask(f"/{PREFIX}*/_search?ignore_unavailable=true", asked)
        return [hit["_source"] | {"_index": hit["_index"]} for hit in found["hits"]["hits"]]

    def count(self, query: Mapping[str, Any]) -> int:
        """How many documents of the streams match."""
        self.ask(f"/{PREFIX}*/_refresh")
        return int(self.ask(f"/{PREFIX}*/_count?ignore_unavailable=true", {"query": query})["count"])


def _manifests(namespace: str, image: str, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    def meta(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": namespace}

    labels = {"app": NAME}
    secret = {key: base64.b64encode(value).decode() for key, value in files.items()}
    variables = [{"name": f"{user.upper()}_PASSWORD", "value": password} for user, password in PASSWORDS.items()]
    container = {
        "name": NAME,
        "image": image,
        "env": variables,
        "ports": [{"containerPort": 9243}],
        "resources": {"requests": {"cpu": "30m", "memory": "700Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "certificates", "mountPath": "/certificates", "readOnly": True},
        ],
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "securityContext": security,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "certificates", "secret": {"secretName": NAME}},
        ],
    }
    deployment = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    service = {"selector": labels, "ports": [{"port": 9243}]}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta(NAME), "data": secret},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(NAME), "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta(NAME), "spec": service},
    ]
