"""Custom resource definitions from the modules that define them, pinned by tests/toolchain/crds/go.mod."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import toolchain
from tests.cluster.support import eventually, kubectl

GATEWAY_API = ("sigs.k8s.io/gateway-api", "config/crd/standard", ("gatewayclasses", "gateways", "httproutes"))
LEADER_WORKER_SET = ("sigs.k8s.io/lws", "config/crd/bases", ("leaderworkersets",))
KEDA = ("github.com/kedacore/keda/v2", "config/crd/bases", ("scaledobjects",))
KUEUE = ("sigs.k8s.io/kueue", "config/components/crd/bases", ("localqueues",))
TRAINER = ("github.com/kubeflow/trainer/v2", "manifests/base/crds", ("trainjobs", "trainingruntimes"))
PROMETHEUS_OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator",
    "example/prometheus-operator-crd",
    ("podmonitors", "prometheusrules"),
)
Source = tuple[str, str, tuple[str, ...]]


def sources(group: str, module: str) -> Path:
    """The folder of a module that a toolchain group pins. Go verifies the download by go.sum."""
    wanted = f"{module}@v{toolchain.version(group, module)}"
    done = subprocess.run(
        ["go", "mod", "download", "-json", wanted], cwd=toolchain.HOME / group, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout)["Dir"])


def files(source: Source) -> list[Path]:
    """The definitions' files."""
    module, folder, kinds = source
    found = sources("crds", module) / folder
    return [file for kind in kinds for file in found.glob(f"*_{kind}.yaml")]


def has_crds(source: Source) -> bool:
    """Whether the cluster has the first of the kinds."""
    names = kubectl("get", "customresourcedefinitions", "--output", "name")
    return any(f"/{kind}." in names for kind in source[2])


@contextmanager
def crds(source: Source) -> Iterator[None]:
    """The cluster has the kinds; those that it had not are removed again, unless somebody else came to use them."""
    had = has_crds(source)
    for file in files(source):
        kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(file))
    for file in files(source):
        # A definition has no conditions at all for a moment, which kubectl takes for an error.
        wait = ("wait", "--for=condition=Established", "--filename", str(file), "--timeout=60s")
        eventually(lambda wait=wait: "condition met" in kubectl(*wait, check=False))
    try:
        yield
    finally:
        for kind in () if had else source[2]:
            if not json.loads(kubectl("get", kind, "--all-namespaces", "--output", "json", check=False) or "{}").get(
                "items"
            ):
                [file] = [file for file in files(source) if file.name.endswith(f"_{kind}.yaml")]
                kubectl("delete", "--filename", str(file), "--timeout=60s")
