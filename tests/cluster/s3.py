"""A real S3 server in the cluster, for tests of what keeps its files in an object store."""

import base64
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from devkit import embedded, engine, images
from tests import toolchain
from tests.cluster.support import apply, kubectl, platform_facts

_PORT = 7070
_REGION = "us-east-1"
_TINY = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True)
class ObjectStore:
    """The server as pods see it, and a look into its buckets."""

    namespace: str
    access_key: str
    secret_key: str
    bucket: str = "modelops"

    @property
    def endpoint(self) -> str:
        """Its address inside the cluster."""
        return f"http://s3.{self.namespace}.svc:{_PORT}"

    @property
    def variables(self) -> dict[str, str]:
        """What S3 clients (boto3, s3fs) read from the environment, the credentials left out."""
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": _REGION}

    def credentials(self, namespace: str, name: str = "object-store") -> str:
        """Makes a Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; its name."""
        values = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data})
        return name

    def objects(self, prefix: str = "") -> list[str]:
        """The keys of the bucket's objects that start with `prefix`."""
        folder = f"/data/{self.bucket}"
        found = self._exec("find", folder, "-type", "f", "-not", "-path", "*/.*").splitlines()
        keys = sorted(path.removeprefix(f"{folder}/") for path in found)
        return [key for key in keys if key.startswith(prefix)]

    def put(self, key: str, content: bytes) -> None:
        """Writes an object as a client would find it."""
        path = f"/data/{self.bucket}/{key}"
        write = f'mkdir -p "$(dirname "{path}")" && cat > "{path}"'
        command = ["kubectl", "exec", "--stdin", "--namespace", self.namespace, "s3", "--container", "shell"]
        subprocess.run([*command, "--", "sh", "-c", write], input=content, check=True)

    def remove(self, prefix: str) -> None:
        """Deletes everything under a prefix that is a folder, as a lost bucket would."""
        self._exec("rm", "-rf", f"/data/{self.bucket}/{prefix}")

    def _exec(self, *command: str) -> str:
        return kubectl("exec", "--namespace", self.namespace, "s3", "--container", "shell", "--", *command)


def upstream_image() -> str:
    """The server's own image, of the version that tests/toolchain pins."""
    return f"ghcr.io/versity/versitygw:v{toolchain.version('s3', 'github.com/versity/versitygw')}"


def image(upstream: str) -> str:
    """An upstream image, or where that can't be pulled the substitute for it, which is made if it is not there."""
    if not images.check([upstream]):
        return upstream
    facts = platform_facts()
    builder = images.Builder(
        engine.bin_folder() / "buildctl",
        embedded.buildkit_address(),
        embedded.REGISTRY,
        facts["base_image"],
        programs=toolchain.build,
    )
    return images.resolve([upstream], builder, lambda _: None).images[upstream]


@contextmanager
def running(shell_image: str) -> Iterator[ObjectStore]:
    """Starts the server with one empty bucket in a namespace of its own, and removes it afterwards."""
    store = ObjectStore(f"test-s3-{uuid.uuid4().hex[:8]}", f"key{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)
    kubectl("create", "namespace", store.namespace)
    try:
        kubectl("label", "namespace", store.namespace, "pod-security.kubernetes.io/enforce=restricted")
        apply(*_manifests(store, shell_image))
        kubectl("wait", "--namespace", store.namespace, "pod/s3", "--for=condition=Ready", "--timeout=300s")
        yield store
    finally:
        kubectl("delete", "namespace", store.namespace, "--wait=false")


def _manifests(store: ObjectStore, shell_image: str) -> list[dict[str, Any]]:
    metadata = {"name": "s3", "namespace": store.namespace, "labels": {"app": "s3"}}
    folders = f"mkdir -p /data/{store.bucket} /meta/s3"
    data, meta = {"name": "data", "mountPath": "/data"}, {"name": "meta", "mountPath": "/meta"}
    common = {"resources": _TINY, "securityContext": _RESTRICTED}
    shell = {"image": shell_image, **common}
    first = {"name": "folders", "command": ["sh", "-c", folders], "volumeMounts": [data, meta], **shell}
    server = {
        "name": "s3",
        "image": image(upstream_image()),
        "args": [f"--port=:{_PORT}", f"--region={_REGION}", "--health=/health", "posix", "--sidecar=/meta/s3", "/data"],
        "env": [
            {"name": "ROOT_ACCESS_KEY_ID", "value": store.access_key},
            {"name": "ROOT_SECRET_ACCESS_KEY", "value": store.secret_key},
        ],
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": _PORT}, "periodSeconds": 2},
        "volumeMounts": [data, meta],
        **common,
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "meta", "emptyDir": {}}],
        "initContainers": [first],
        "containers": [
            server,
            {"name": "shell", "command": ["sleep", "infinity"], "volumeMounts": [data], **shell},
        ],
    }
    ports = [{"port": _PORT, "targetPort": _PORT}]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "s3"}, "ports": ports},
        },
    ]
