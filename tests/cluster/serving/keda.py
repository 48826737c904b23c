"""KEDA, from the Go module that tests/toolchain/keda pins and by its own manifests, for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests import toolchain
from tests.cluster import s3
from tests.cluster.serving.crds import sources
from tests.cluster.support import create, kubectl, remove

API = "v1beta1.external.metrics.k8s.io"
_MODULE = "github.com/kedacore/keda/v2"
_NAMESPACE = "keda"


@contextmanager
def installed() -> Iterator[None]:
    """Operator, metrics server and admission webhooks; removed again with all that they scaled."""
    manifests = _manifests()
    try:
        create(*manifests)
        for each in manifests:
            if each["kind"] == "Deployment":
                name = each["metadata"]["name"]
                kubectl("rollout", "status", f"deployment/{name}", "--namespace", _NAMESPACE, "--timeout=300s")
        kubectl("wait", f"apiservice/{API}", "--for=condition=Available", "--timeout=120s")
        yield
    finally:
        # Its finalizers end with the operator, so what it scales goes first.
        kubectl("delete", "scaledobjects", "--all", "--all-namespaces", "--wait=true", check=False)
        remove(*manifests)


def _manifests() -> list[dict[str, Any]]:
    folder = sources("keda", _MODULE) / "config" / "default"
    found = [each for each in yaml.safe_load_all(kubectl("kustomize", str(folder))) if each]
    for each in found:
        if each["kind"] == "Deployment":
            for container in each["spec"]["template"]["spec"]["containers"]:
                name = container["image"].rpartition(":")[0]
                container["image"] = s3.image(f"{name}:{toolchain.version('keda', _MODULE)}")
                container["imagePullPolicy"] = "IfNotPresent"
                container["resources"]["requests"] = {"cpu": "20m", "memory": "64Mi"}
    return found
