"""ModelPromotion of an image with a model's files, between two registries with certificates and accounts of their own.

They are registries as others run them (CNCF Distribution), in pods; nothing of this project put the image there.
"""

import base64
import datetime
import gzip
import hashlib
import io
import json
import re
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pulumi
import pulumi_kubernetes as k8s
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devkit.embedded import packages
from devkit.embedded.layout import Layout
from modelops import UPSTREAM_IMAGES, ModelImage, ModelPromotion
from tests.cluster.provider.harness import Stack
from tests.cluster.support import apply, forwarded, kubectl, objects, platform_facts

pytestmark = [pytest.mark.models, pytest.mark.long]

PORT = 5000
USER, PASSWORD = "team", "correct horse"
ACCOUNT = f"{USER}:$2b$12$L.Xm6cYp/WtsqRnAuc/xvOSFnbU5dGazo9Iv0HsyqSAl6eEiJ/u9a"
"""A line of htpasswd for that password."""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = """
version: 0.1
storage: {filesystem: {rootdirectory: /data}}
http: {addr: ":5000", tls: {certificate: /etc/registry/tls.crt, key: /etc/registry/tls.key}}
auth: {htpasswd: {realm: registry, path: /etc/registry/htpasswd}}
"""


@dataclass
class Registries:
    """The registries `source` and `target` of one namespace."""

    namespace: str
    authority: Path
    """Certificate of who vouches for both."""
    folder: Path

    def host(self, name: str) -> str:
        """As pods name it."""
        return f"{name}.{self.namespace}.svc:{PORT}"

    @contextmanager
    def reached(self, name: str) -> Iterator["Client"]:
        """Through a forwarded port."""
        with forwarded(self.namespace, f"pod/{name}", PORT) as port:
            yield Client(f"https://localhost:{port}", ssl.create_default_context(cafile=str(self.authority)))

    def job(self, promotion: str) -> dict[str, Any]:
        wanted = f"app.kubernetes.io/name=model-promotion,app.kubernetes.io/instance={promotion}"
        [job] = objects("jobs", self.namespace, "--selector", wanted)
        return job

    def said(self, promotion: str) -> str:
        name = self.job(promotion)["metadata"]["name"]
        return kubectl("logs", "--namespace", self.namespace, f"job/{name}", "--all-containers")


@dataclass
class Client:
    """As much of a registry's protocol as a push takes."""

    url: str
    trusted: ssl.SSLContext

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[bytes, Mapping[str, str]]:
        request = urllib.request.Request(urljoin(self.url, path), body, headers, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=30, context=self.trusted) as answer:
            return answer.read(), answer.headers

    def push(self, repository: str, content: bytes) -> str:
        """Sends a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        _, headers = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        place = headers["Location"]
        self.ask(
            "PUT",
            f"{place}{'&' if '?' in place else '?'}digest={digest}",
            content,
            **{"Content-Type": "application/octet-stream"},
        )
        return digest

    def push_image(self, repository: str, files: Mapping[str, bytes]) -> str:
        """Sends an image of one layer, as a builder would; the digest of its manifest."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        layer = gzip.compress(tar.getvalue())
        unpacked = f"sha256:{hashlib.sha256(tar.getvalue()).hexdigest()}"
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [unpacked]}}
        ).encode()
        described = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.push(repository, config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": self.push(repository, layer),
                    "size": len(layer),
                }
            ],
        }
        content = json.dumps(described).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.ask("PUT", f"/v2/{repository}/manifests/{digest}", content, **{"Content-Type": MANIFEST})
        return digest

    def image(self, repository: str, reference: str) -> tuple[bytes, list[bytes]]:
        """The manifest and the blobs that it names."""
        content, _ = self.ask("GET", f"/v2/{repository}/manifests/{reference}", Accept=MANIFEST)
        named = json.loads(content)
        blobs = [each["digest"] for each in [named["config"], *named["layers"]]]
        return content, [self.ask("GET", f"/v2/{repository}/blobs/{digest}")[0] for digest in blobs]


@pytest.fixture(scope="module")
def registries(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    folder = tmp_path_factory.mktemp("registries")
    namespace = f"images-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    made = Registries(namespace, folder / "ca.pem", folder)
    files = {"config.yml": CONFIG, "htpasswd": ACCOUNT, **_certificates(made)}
    try:
        image = _registry_image(made)
        for name in ("source", "target"):
            apply(*_registry(made, name, image, files))
        for name in ("source", "target"):
            kubectl("wait", "--namespace", namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        yield made
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def _certificates(registries: Registries) -> dict[str, str]:
    """One certificate for both registries, by an authority that no image knows."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A company's own authority")])
    names = ["localhost", *(registries.host(name).partition(":")[0] for name in ("source", "target"))]

    def certificate(subject: x509.Name, public: Any, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(authority, subject, public, x509.random_serial_number())
        until = now + datetime.timedelta(days=1)
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(until)
        signed = builder.add_extension(extension, critical=True).sign(authority_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    registries.authority.write_bytes(
        certificate(authority, authority_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    )
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "tls.crt": certificate(x509.Name([]), key.public_key(), alternative).decode(),
        "tls.key": private.decode(),
    }


def built(registries: Registries, name: str, dockerfile: str, **files: Path) -> str:
    """An image on the platform's base, or on Python's."""
    facts = platform_facts()
    context = registries.folder / name
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {facts.get('base_image', UPSTREAM_IMAGES['python'])}\n{dockerfile}")
    for target, file in files.items():
        (context / target).write_bytes(file.read_bytes())
    args: Any = {"context": str(context), "repository": f"{facts['registry']}/{name}-tests"}
    if facts.get("builder"):
        args["builder_name"] = facts["builder"]
    stack = Stack(registries.folder / f"{name}-stack")
    stack.up(lambda _: {"image": ModelImage(name, args).ref})
    return str(stack.outputs()["image"])


def _registry_image(registries: Registries) -> str:
    if not platform_facts().get("base_image"):
        return "docker.io/library/registry:3.0.0"
    program = packages.tool(Layout(), "docker-registry")
    return built(registries, "registry", "COPY --chmod=755 program /usr/local/bin/registry\n", program=program)


def _registry(registries: Registries, name: str, image: str, files: Mapping[str, str]) -> list[dict[str, Any]]:
    meta = {"name": name, "namespace": registries.namespace, "labels": {"app": name}}
    container = {
        "name": "registry",
        "image": image,
        "command": ["registry", "serve", "/etc/registry/config.yml"],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "files", "mountPath": "/etc/registry"}],
    }
    user = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "files", "secret": {"secretName": name}}]
    pod = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": user,
        "containers": [container],
        "volumes": volumes,
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": dict(files)},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": name}, "ports": [{"port": PORT}]},
        },
    ]


@pytest.fixture(scope="module")
def logins(registries: Registries) -> str:
    """What `docker login` at both would leave, as a Secret."""
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    auths = {"auths": {registries.host(name): {"auth": token} for name in ("source", "target")}}
    meta = {"name": "logins", "namespace": registries.namespace}
    data = {".dockerconfigjson": json.dumps(auths)}
    kind = "kubernetes.io/dockerconfigjson"
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "stringData": data})
    return "logins"


@pytest.fixture(scope="module")
def trusting(registries: Registries) -> str:
    """An image that trusts the company's authority, as docs/components/model_promotion.md says."""
    dockerfile = "COPY ca.pem /etc/ssl/ca.pem\nENV SSL_CERT_FILE=/etc/ssl/ca.pem\n"
    return built(registries, "trusting", dockerfile, **{"ca.pem": registries.authority})


def test_an_image_is_promoted_from_one_registry_to_another_by_its_digest(
    registries: Registries, logins: str, trusting: str
) -> None:
    with registries.reached("source") as source:
        digest = source.push_image("staging/line", {"model.json": b"{}", "weights.bin": bytes(range(256)) * 40_000})
        original = source.image("staging/line", digest)
    args: Any = {
        "namespace": registries.namespace,
        "image": trusting,
        "model_uri": f"oci://{registries.host('source')}/staging/line@{digest}",
        "repository": f"{registries.host('target')}/production/line",
        "repository_secret": logins,
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = ModelPromotion("promotion", args, pulumi.ResourceOptions(provider=provider))
        return {"model_uri": made.model_uri, "model_version": made.model_version}

    stack = Stack(registries.folder / "promotion", namespace=registries.namespace)
    try:
        stack.up(program)
        version = digest.removeprefix("sha256:")[:12]
        copied = f"oci://{registries.host('target')}/production/line@{digest}"
        assert stack.outputs() == {"model_uri": copied, "model_version": version}
        assert re.search(r", [1-9]\d* bytes sent", registries.said("promotion"))
        with registries.reached("target") as target:
            assert target.image("production/line", digest) == original
            assert target.image("production/line", version) == original
        stack.unchanged(program)
    finally:
        stack.destroy(succeed=None)


@pytest.mark.parametrize(
    ("trusted", "reason"),
    [
        (True, r"answered HEAD \S+ with HTTP 401: .*\(without a login; there is none for {host}\)"),
        (False, "unable to get local issuer certificate: run this with an image that trusts its authority"),
    ],
    ids=["no login", "an unknown authority"],
)
def test_what_a_registry_refuses_is_said_at_once_and_nothing_is_copied(
    registries: Registries, trusting: str, trusted: bool, reason: str
) -> None:
    with registries.reached("source") as source:
        digest = source.push_image("staging/other", {"model.json": b"{}"})
    python = UPSTREAM_IMAGES["python"]
    args: Any = {
        "namespace": registries.namespace,
        "image": trusting if trusted else platform_facts().get("images", {}).get(python, python),
        "model_uri": f"oci://{registries.host('source')}/staging/other@{digest}",
        "repository": f"{registries.host('target')}/production/other",
    }

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        made = ModelPromotion("refused", args, pulumi.ResourceOptions(provider=provider))
        return {"model_uri": made.model_uri}

    stack = Stack(registries.folder / f"refused-{trusted}", namespace=registries.namespace)
    try:
        started = time.monotonic()
        failed = stack.up(program, succeed=False)
        assert time.monotonic() - started < 60
        assert re.search(reason.format(host=registries.host("target")), failed.text), failed.text
        assert registries.job("refused")["status"].get("succeeded", 0) == 0
        with registries.reached("target") as target, pytest.raises(urllib.error.HTTPError, match="404"):
            target.image("production/other", digest)
    finally:
        stack.destroy(succeed=None)
