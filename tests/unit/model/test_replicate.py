"""Copying images between registries that misbehave. (A real one: tests/cluster/models.)"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelops_runtime.registry.replicate import logins
from tests.runtime import run_module

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class FakeRegistry:
    """Keeps blobs and manifests by digest or tag, in whatever repository."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Codes with which the next uploads fail."""
    login: str = ""
    """Credentials that it wants; a token is given for them."""
    empty: str = ""
    """The repositories below this path have nothing, whatever else is here."""
    host: str = ""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.asked.append((method, path))
        if self.login and path == "/token":
            good = headers["Authorization"] == f"Basic {self.login}"
            return (200, b'{"token": "good"}', {}) if good else (401, b"", {})
        if self.login and headers["Authorization"] != "Bearer good":
            challenge = f'Bearer realm="http://{self.host}/token",service="fake",scope="repository:x:pull,push"'
            return 401, b"", {"WWW-Authenticate": challenge}
        name = path.rpartition("/")[2]
        if method == "POST":
            known = query.get("mount", [""])[0] in self.blobs
            return (201, b"", {}) if known else (202, b"", {"Location": "/upload?state=1"})
        if method == "PUT":
            return self._put(path, name, query, headers, body)
        if self.empty and path.startswith(self.empty):
            return 404, b"", {}
        if "/manifests/" in path and name in self.manifests:
            kind, content = self.manifests[name]
            return 200, content, {"Content-Type": kind}
        if "/blobs/" in path and name in self.blobs:
            return 200, self.blobs[name], {}
        return 404, b"", {}

    def _put(
        self, path: str, name: str, query: dict[str, list[str]], headers: Any, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if path != "/upload":
            for key in (name, digest_of(body)):
                self.manifests[key] = (headers["Content-Type"], body)
            return 201, b"", {}
        if self.failures:
            return self.failures.pop(0), b'{"errors": [{"message": "no room"}]}', {}
        if query["digest"] != [digest_of(body)]:
            return 400, b'{"errors": [{"message": "another digest"}]}', {}
        self.blobs[query["digest"][0]] = body
        return 201, b"", {}

    def add(self, *layers: bytes) -> str:
        """An image; its digest."""
        parts = [{"digest": digest_of(layer), "size": len(layer)} for layer in (b"{}", *layers)]
        self.blobs |= {digest_of(layer): layer for layer in (b"{}", *layers)}
        return self.add_manifest(MANIFEST, {"config": parts[0], "layers": parts[1:]})

    def add_manifest(self, kind: str, content: Any) -> str:
        encoded = json.dumps({"mediaType": kind, **content}).encode()
        self.manifests[digest_of(encoded)] = (kind, encoded)
        return digest_of(encoded)

    def uploads(self) -> int:
        return self.asked.count(("PUT", "/upload"))


@contextmanager
def running(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content, headers = fake.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield fake
        server.shutdown()


@pytest.fixture
def pair() -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with ExitStack() as stack:
        yield stack.enter_context(running(FakeRegistry())), stack.enter_context(running(FakeRegistry()))


def copy(source: FakeRegistry, target: FakeRegistry, digest: str, **variables: object) -> Any:
    return run_module(
        "modelops_runtime replicate",
        MODELOPS_SOURCE_IMAGE=f"{source.host}/team/model@{digest}",
        MODELOPS_TARGET_REPOSITORY=f"{target.host}/prod/model",
        **{"MODELOPS_REGISTRY_WAIT_SECONDS": 0, "DOCKER_CONFIG": "/nowhere", **variables},
    )


def test_an_image_is_the_same_to_the_byte_and_has_a_tag(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"weights" * 200_000, b"manifest")
    done = copy(source, target, digest)
    assert done.returncode == 0, done.stderr
    assert target.blobs == source.blobs
    assert target.manifests == dict.fromkeys((digest, digest[7:19]), source.manifests[digest])
    assert done.stdout.startswith(f"{target.host}/prod/model@{digest} is there, ")


def test_an_image_of_several_platforms_is_copied_with_all_of_them(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    images = [source.add(b"one"), source.add(b"two")]
    index = source.add_manifest(INDEX, {"manifests": [{"digest": digest} for digest in images]})
    assert copy(source, target, index).returncode == 0
    assert target.manifests.keys() == {*images, index, index[7:19]}
    assert target.blobs == source.blobs


def test_what_is_there_is_not_sent_again(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one", b"two")
    target.blobs[digest_of(b"one")] = b"one"
    assert copy(source, target, digest).returncode == 0
    assert target.uploads() == 2
    again = copy(source, target, digest)
    assert again.returncode == 0 and "0 bytes sent" in again.stdout
    assert target.uploads() == 2


def test_a_copy_goes_on_after_a_failure(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one", b"two")
    target.failures = [503]
    done = copy(source, target, digest, MODELOPS_REGISTRY_WAIT_SECONDS=30)
    assert done.returncode == 0, done.stderr
    assert "trying again: " in done.stdout and "HTTP 503: no room" in done.stdout
    assert target.blobs == source.blobs


@pytest.mark.parametrize(("code", "exit_code"), [(503, 1), (403, 2)])
def test_a_copy_that_fails_leaves_no_manifest(
    pair: tuple[FakeRegistry, FakeRegistry], code: int, exit_code: int
) -> None:
    source, target = pair
    target.failures = [code]
    done = copy(source, target, source.add(b"one"))
    assert done.returncode == exit_code
    assert f"HTTP {code}: no room" in done.stderr
    assert target.manifests == {}


def test_within_one_registry_nothing_is_sent(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, _ = pair
    source.empty = "/v2/prod/"
    done = copy(source, source, source.add(b"one"))
    assert done.returncode == 0, done.stderr
    assert source.uploads() == 0
    assert [path for method, path in source.asked if method == "POST"] == 2 * ["/v2/prod/model/blobs/uploads/"]


def test_logins_are_used_and_sent_to_their_own_registry_alone(
    pair: tuple[FakeRegistry, FakeRegistry], tmp_path: Path
) -> None:
    source, target = pair
    source.login, target.login = (base64.b64encode(f"{name}:pw".encode()).decode() for name in ("reader", "writer"))
    digest = source.add(b"one")
    refused = copy(source, target, digest)
    assert refused.returncode == 2 and f"without a login; there is none for {target.host}" in refused.stderr
    auths = {source.host: {"username": "reader", "password": "pw"}, f"http://{target.host}/v1/": {"auth": target.login}}
    (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": auths}))
    done = copy(source, target, digest, DOCKER_CONFIG=tmp_path)
    assert done.returncode == 0, done.stderr
    assert target.blobs == source.blobs
    assert "pw" not in done.stdout + done.stderr


def test_an_image_that_is_not_there(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    done = copy(*pair, f"sha256:{'0' * 64}")
    assert done.returncode == 2 and "HTTP 404" in done.stderr


def test_a_damaged_manifest_is_not_copied(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one")
    source.manifests[digest] = (MANIFEST, source.manifests[digest][1] + b" ")
    done = copy(source, target, digest)
    assert done.returncode == 1 and "its manifest has another digest" in done.stderr
    assert target.manifests == {}


def test_a_damaged_layer_is_not_copied(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one")
    source.blobs[digest_of(b"one")] = b"two"
    done = copy(source, target, digest)
    assert done.returncode == 2 and "another digest" in done.stderr
    assert target.manifests == {}


def test_the_program_names_every_wrong_variable() -> None:
    done = run_module("modelops_runtime replicate", MODELOPS_SOURCE_IMAGE="team/model:1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: MODELOPS_SOURCE_IMAGE is 'team/model:1', must be an image by digest",
        "error: MODELOPS_TARGET_REPOSITORY is not set",
    ]


def test_docker_hub_is_known_by_each_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "eA=="}}}')
    assert logins(tmp_path) == {"docker.io": "eA=="}
    (tmp_path / "config.json").write_text("[]")
    done = run_module(
        "modelops_runtime replicate",
        MODELOPS_SOURCE_IMAGE=f"localhost/team/model@sha256:{'0' * 64}",
        MODELOPS_TARGET_REPOSITORY="localhost/prod/model",
        DOCKER_CONFIG=tmp_path,
    )
    assert done.returncode == 2 and "has no logins" in done.stderr
