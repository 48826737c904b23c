"""What a running cluster needs before it is usable: the pause image and the objects that pods rely on."""

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from string import Template

from devkit.embedded import host, oci
from devkit.embedded import layout as at
from devkit.embedded.layout import Layout
from devkit.embedded.parts import binary
from devkit.errors import DevkitError

HERE = Path(__file__).resolve().parent


def ensure_pause_archive(layout: Layout) -> Path:
    """The pause image as an archive in the cache, built with Go when it is missing."""
    source = (HERE / "pause" / "main.go").read_bytes()
    key = hashlib.sha256(source + oci.architecture().encode()).hexdigest()[:12]
    archive = layout.cache / "pause" / f"{key}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        _build_pause(Path(folder, "pause"))
        layer = Path(folder, "layer.tar")
        oci.write_tar(layer, {"pause": Path(folder, "pause").read_bytes()}, mode=0o755)
        image = oci.image_of(
            oci.Layer(layer, oci.file_digest(layer), oci.LAYER_TYPE), {"Entrypoint": ["/pause"], "User": "65535:65535"}
        )
        oci.write_archive(image, at.PAUSE_IMAGE, Path(folder, "image.tar"))
        Path(folder, "image.tar").replace(archive)
    return archive


def _build_pause(target: Path) -> None:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(target), "."]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(command, cwd=HERE / "pause", env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as problem:
        raise DevkitError("Go is missing", "install Go and put it on the PATH") from problem
    if done.returncode:
        raise DevkitError(f"building the pause program failed: {done.stderr.strip()[-300:]}")


def import_pause(layout: Layout, binaries: Path, archive: Path) -> None:
    """Imports the pause image into containerd, unless it is there."""
    ctr = (binary(binaries, "ctr"), "--address", str(layout.containerd_socket), "--namespace", "k8s.io")
    if at.PAUSE_IMAGE not in host.run(*ctr, "images", "list", "--quiet").split():
        host.run(*ctr, "images", "import", str(archive))
        label = "io.cri-containerd.pinned=pinned"  # the kubelet's image garbage collection keeps pinned images
        host.run(*ctr, "images", "label", at.PAUSE_IMAGE, label)


def kubectl(layout: Layout, binaries: Path) -> tuple[str, ...]:
    """kubectl for our cluster, with its cache outside the user's folder."""
    cache = f"--cache-dir={layout.kubectl_cache}"
    return binary(binaries, "kubectl"), f"--kubeconfig={layout.kubeconfig}", cache


def manifests(layout: Layout) -> str:
    """The objects of manifests/, with the cluster's addresses filled in."""
    values = {
        "BRIDGE_ADDRESS": at.BRIDGE_ADDRESS,
        "DNS_SERVICE": at.DNS_SERVICE,
        "METRICS_SERVER_PORT": str(at.METRICS_SERVER_PORT),
        "STORAGE_CLASS": at.STORAGE_CLASS,
        "CA_BUNDLE": base64.b64encode((layout.pki / "ca.crt").read_bytes()).decode(),
    }
    texts = [path.read_text() for path in sorted((HERE / "manifests").glob("*.yaml"))]
    return "\n---\n".join(Template(text).substitute(values) for text in texts)


def apply_manifests(layout: Layout, binaries: Path) -> None:
    """Applies these objects; changes nothing when they are up to date."""
    flags = ("--server-side", "--force-conflicts", "--field-manager=modelops-devkit", "-f", "-")
    host.run(*kubectl(layout, binaries), "apply", *flags, stdin=manifests(layout))
