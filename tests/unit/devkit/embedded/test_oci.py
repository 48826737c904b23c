"""Images made without an engine: the same input, the same digest; only what is missing is sent."""

import hashlib
import http.server
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.embedded import oci
from devkit.errors import DevkitError


class Registry(http.server.BaseHTTPRequestHandler):
    """As much of a registry as a push needs."""

    stored: dict[str, bytes]
    uploads: list[str]
    refuse = False
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self._answer(200 if self.path in self.stored else 404)

    def do_POST(self) -> None:
        self._answer(202, Location=f"http://{self.headers['Host']}/v2/upload?id=1")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refuse:
            self._answer(500)
            return
        path, _, query = self.path.partition("?")
        if "digest=" in query:
            digest = query.rpartition("digest=")[2]
            assert digest == oci.digest_of(body)
            path = f"/v2/team/base/blobs/{digest}"
            self.uploads.append(digest)
        self.stored[path] = body
        self._answer(201)


@pytest.fixture
def registry() -> Iterator[tuple[str, type[Registry]]]:
    """Address of a registry that lives as long as the test, and its memory."""
    handler = type("Handler", (Registry,), {"stored": {}, "uploads": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}", handler
        server.shutdown()


@pytest.fixture
def image(tmp_path: Path) -> oci.Image:
    """An image with one small file."""
    layer = tmp_path / "layer.tar"
    oci.write_tar(layer, {"hello": b"world"}, mode=0o755)
    return oci.image_of(oci.Layer(layer, oci.file_digest(layer), oci.LAYER_TYPE), {"Cmd": ["/hello"]})


def test_same_content_gives_the_same_digest(tmp_path: Path, image: oci.Image) -> None:
    again = tmp_path / "again.tar"
    oci.write_tar(again, {"hello": b"world"}, mode=0o755)
    second = oci.image_of(oci.Layer(again, oci.file_digest(again), oci.LAYER_TYPE), {"Cmd": ["/hello"]})
    assert second.digest == image.digest


def test_pushed_image_is_named_by_its_digest(registry: tuple[str, type[Registry]], image: oci.Image) -> None:
    address, handler = registry
    reference = oci.push(image, address, "team/base", "latest")
    assert reference == f"{address}/team/base@{image.digest}"
    assert handler.stored[f"/v2/team/base/manifests/{image.digest}"] == image.manifest
    assert handler.stored["/v2/team/base/manifests/latest"] == image.manifest
    assert oci.has(address, "team/base", image.digest)


def test_second_push_sends_no_blob_again(registry: tuple[str, type[Registry]], image: oci.Image) -> None:
    address, handler = registry
    for _ in range(2):
        oci.push(image, address, "team/base", "latest")
    assert len(handler.uploads) == 2  # the layer and the config


def test_refusal_of_the_registry_is_an_error(registry: tuple[str, type[Registry]], image: oci.Image) -> None:
    address, handler = registry
    handler.refuse = True
    with pytest.raises(DevkitError, match="registry responded with 500"):
        oci.push(image, address, "team/base", "latest")


def test_unreachable_registry_is_an_error(image: oci.Image) -> None:
    with pytest.raises(DevkitError, match="pushing team/base to localhost:1 failed"):
        oci.push(image, "localhost:1", "team/base", "latest")
    assert not oci.has("localhost:1", "team/base", image.digest)


def test_archive_holds_what_its_index_names(tmp_path: Path, image: oci.Image) -> None:
    archive = tmp_path / "image.tar"
    oci.write_archive(image, "modelops.local/pause:1", archive)
    with tarfile.open(archive) as opened:
        index = json.loads(opened.extractfile("index.json").read())  # type: ignore[union-attr]
        described = index["manifests"][0]
        assert described["annotations"]["io.containerd.image.name"] == "modelops.local/pause:1"
        blob = opened.extractfile(f"blobs/sha256/{described['digest'].split(':')[1]}").read()  # type: ignore[union-attr]
        assert hashlib.sha256(blob).hexdigest() == described["digest"].split(":")[1]
