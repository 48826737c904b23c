"""The size that the serving image adds to its base, built on the local platform."""

import io
import json
import os
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from bench.load import BenchError
from devkit.embedded import buildkit_address
from devkit.paths import REPOSITORY, state_root

TYPES = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
TYPES += (
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


def platform_base() -> str:
    """The platform's base image by digest. Raises BenchError when the local platform is not up, or has none."""
    facts_file = Path(os.environ.get("MODELOPS_PLATFORM") or state_root() / "platform.json")
    if not facts_file.exists() or not (state_root() / "bin" / "buildctl").exists():
        raise BenchError("the local platform is not up: run `make up` first")
    base = json.loads(facts_file.read_text())["base_image"]
    if not base:
        raise BenchError("the platform has no base image of its own to compare with")
    return str(base)


def beyond_its_base(target: str) -> tuple[float, float]:
    """Megabytes of the target's layers without those of its base image: compressed (gzip), uncompressed.

    Raises BenchError when the local platform is not up.
    """
    base = platform_base()
    buildctl = state_root() / "bin" / "buildctl"
    base_layers = len(manifest_of(base)["layers"])
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        context = str(REPOSITORY / "model")
        command = [str(buildctl), "--addr", buildkit_address(), "build", "--frontend", "dockerfile.v0"]
        command += ["--local", f"context={context}", "--local", f"dockerfile={context}", "--opt", f"target={target}"]
        command += [
            "--opt",
            f"build-arg:BASE_IMAGE={base}",
            "--output",
            f"type=oci,dest={archive},compression=gzip,force-compression=true",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"the image can't be built: {done.stderr.strip()[-500:]}")
        return _sizes(archive, base_layers)


def _sizes(archive: Path, base_layers: int) -> tuple[float, float]:
    packed = unpacked = 0
    with tarfile.open(archive) as image:

        def blob(digest: str) -> bytes:
            member = image.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return member.read()

        index = image.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        if "manifests" in manifest:
            manifest = json.loads(blob(manifest["manifests"][0]["digest"]))
        for layer in manifest["layers"][base_layers:]:
            packed += layer["size"]
            with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"])), mode="r:gz") as files:
                unpacked += sum(member.size for member in files)
    return packed / 1e6, unpacked / 1e6


def manifest_of(image: str) -> dict[str, Any]:
    """The manifest of an image by digest, of one platform."""
    host, _, rest = image.partition("/")
    repository, _, digest = rest.partition("@")
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{digest}", headers={"Accept": TYPES})
    with urllib.request.urlopen(request, timeout=20) as answer:
        manifest: dict[str, Any] = json.load(answer)
    if "manifests" in manifest:
        return manifest_of(f"{host}/{repository}@{manifest['manifests'][0]['digest']}")
    return manifest
