"""Container images without a container engine: written as an OCI archive, or pushed to a registry over HTTP."""

import hashlib
import http.client
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from devkit.errors import DevkitError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One layer: the file as stored, and the digest of the tar archive inside it (the same when not compressed)."""

    file: Path
    diff_id: str
    media_type: str


@dataclass(frozen=True)
class Image:
    """An image of one layer; `config` and `manifest` are its two JSON documents, byte for byte."""

    layer: Layer
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The image's digest: sha256:…"""
        return digest_of(self.manifest)


def digest_of(data: bytes) -> str:
    """The digest of some bytes, in the form that registries use."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def architecture() -> str:
    """This machine's architecture as images name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def image_of(layer: Layer, settings: dict[str, object]) -> Image:
    """An image of `layer`; `settings` is the `config` object (Env, Cmd, Entrypoint …). Same input, same digest."""
    config = _json(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
    )
    layer_descriptor = {
        "mediaType": layer.media_type,
        "digest": file_digest(layer.file),
        "size": layer.file.stat().st_size,
    }
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [layer_descriptor],
        }
    )
    return Image(layer, config, manifest)


def write_archive(image: Image, name: str, target: Path) -> None:
    """Writes an OCI archive for `ctr images import`, which then calls the image `name`."""
    descriptor = {
        "mediaType": MANIFEST_TYPE,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
    }
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": [descriptor]}))
        for content in (image.config, image.manifest, image.layer.file.read_bytes()):
            _add(archive, "blobs/" + digest_of(content).replace(":", "/"), content)


def push(image: Image, registry: str, repository: str, tag: str) -> str:
    """Pushes to a registry that speaks plain HTTP; blobs that it has are not sent. Returns name@digest."""
    host, _, port = registry.partition(":")
    connection = http.client.HTTPConnection("127.0.0.1" if host == "localhost" else host, int(port or 80), timeout=120)
    try:
        with image.layer.file.open("rb") as file:
            size = image.layer.file.stat().st_size
            _push_blob(connection, repository, json.loads(image.manifest)["layers"][0]["digest"], file, size)
        _push_blob(connection, repository, digest_of(image.config), io.BytesIO(image.config), len(image.config))
        for reference in (image.digest, tag):
            path, headers = f"/v2/{repository}/manifests/{reference}", {"Content-Type": MANIFEST_TYPE}
            _expect(connection, "PUT", path, image.manifest, headers, 201)
    except (OSError, http.client.HTTPException) as problem:
        raise DevkitError(f"pushing {repository} to {registry} failed: {problem}") from problem
    finally:
        connection.close()
    return f"{registry}/{repository}@{image.digest}"


def has(registry: str, repository: str, digest: str) -> bool:
    """Whether a registry that speaks plain HTTP has exactly this image."""
    host, _, port = registry.partition(":")
    connection = http.client.HTTPConnection("127.0.0.1" if host == "localhost" else host, int(port or 80), timeout=10)
    try:
        connection.request("HEAD", f"/v2/{repository}/manifests/{digest}", headers={"Accept": MANIFEST_TYPE})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _push_blob(
    connection: http.client.HTTPConnection, repository: str, digest: str, content: BinaryIO, size: int
) -> None:
    connection.request("HEAD", f"/v2/{repository}/blobs/{digest}")
    existing = connection.getresponse()
    existing.read()
    if existing.status == 200:
        return
    location = _expect(connection, "POST", f"/v2/{repository}/blobs/uploads/", None, {"Content-Length": "0"}, 202)
    path = location.split("://", 1)[-1]
    path = "/" + path.split("/", 1)[1] if "://" in location else path
    path += ("&" if "?" in path else "?") + f"digest={digest}"
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    _expect(connection, "PUT", path, content, headers, 201)


def _expect(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | BinaryIO | None,
    headers: dict[str, str],
    status: int,
) -> str:
    connection.blocksize = _CHUNK
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")[:300]
    if answer.status != status:
        raise DevkitError(f"the registry responded with {answer.status} to {method} {path.split('?')[0]}: {text}")
    return answer.getheader("Location", "")


def write_tar(target: Path, files: dict[str, bytes], mode: int = 0o644) -> None:
    """A tar archive of small files, always the same for the same content."""
    with tarfile.open(target, "w") as archive:
        for name, content in sorted(files.items()):
            _add(archive, name, content, mode)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
