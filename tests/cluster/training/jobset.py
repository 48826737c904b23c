"""The controller of JobSet, from the Go module that tests/toolchain/jobset pins, for as long as a test needs it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from devkit import embedded, engine, images
from tests import toolchain
from tests.cluster.support import eventually, kubectl

NAMESPACE = "jobset-system"
CRD = "jobsets.jobset.x-k8s.io"


@contextmanager
def installed(base_image: str | None) -> Iterator[None]:
    """CRD, controller and webhooks; removed again, unless somebody had installed JobSet before."""
    if kubectl("get", "crd", CRD, "--ignore-not-found", "--output", "name"):
        yield
        return
    manifests = yaml.safe_dump_all(_manifests(_image(base_image)))
    try:
        _kubectl("apply", "--server-side", text=manifests)
        kubectl("rollout", "status", "deployment/jobset-controller-manager", "--namespace", NAMESPACE, "--timeout=300s")
        eventually(_answers, 180)
        yield
    finally:
        _kubectl("delete", "--ignore-not-found", "--wait=true", text=manifests)


def _answers() -> bool:
    """Whether the webhooks are there: their certificates are made by the controller, a while after its start."""
    probe = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"replicatedJobs": []},
    }
    command = ["kubectl", "create", "--dry-run=server", "--filename", "-"]
    return subprocess.run(command, input=yaml.safe_dump(probe), text=True, capture_output=True).returncode == 0


def _image(base_image: str | None) -> str:
    """Upstream's image, or one built here where that can't be pulled."""
    upstream = f"registry.k8s.io/jobset/jobset:v{toolchain.version('jobset', 'sigs.k8s.io/jobset')}"
    builder = None
    if base_image is not None:
        builder = images.Builder(
            engine.bin_folder() / "buildctl",
            embedded.buildkit_address(),
            embedded.REGISTRY,
            base_image,
            programs=toolchain.build,
        )
    found = images.resolve([upstream], builder, print)
    assert upstream not in found.unavailable, found.unavailable
    return found.images.get(upstream, upstream)


def _manifests(image: str) -> list[dict[str, Any]]:
    """What the module's own kustomization says, small enough for one node beside everything else."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/jobset"]
    folder = toolchain.HOME / "jobset"
    module = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    documents = list(yaml.safe_load_all(kubectl("kustomize", str(Path(module, "config", "default")))))
    for document in documents:
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container |= {"image": image, "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}}
            container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 10}
            container["livenessProbe"] |= {"timeoutSeconds": 10, "failureThreshold": 10}
    return documents


def _kubectl(*arguments: str, text: str) -> None:
    done = subprocess.run(["kubectl", *arguments, "--filename", "-"], input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
