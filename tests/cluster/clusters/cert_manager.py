"""cert-manager's definitions and controllers, from the Go module that tests/toolchain/cert-manager pins."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelops.core.x509 import AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY, new_authority
from tests import toolchain
from tests.cluster.serving.crds import sources
from tests.cluster.support import apply, eventually, kubectl

_MODULE = "github.com/cert-manager/cert-manager"


@contextmanager
def installed(log: Path) -> Iterator[None]:
    """The controllers, as a process of this machine that writes to `log`; with the definitions removed again, unless
    the cluster had cert-manager before."""
    if kubectl("get", "crd", "certificates.cert-manager.io", "--ignore-not-found", "--output", "name"):
        yield
        return
    folder = str(sources("cert-manager", _MODULE) / "deploy" / "crds")
    program = toolchain.build("cert-manager") / "cert-manager"
    try:
        kubectl("apply", "--server-side", "--filename", folder)
        # A definition has no conditions at all for a moment, which kubectl takes for an error.
        wait = ("wait", "--for=condition=Established", "--filename", folder, "--timeout=60s")
        eventually(lambda: "condition met" in kubectl(*wait, check=False))
        with log.open("w") as sink, subprocess.Popen([program], stdout=sink, stderr=subprocess.STDOUT) as process:
            try:
                yield
            finally:
                process.terminate()
    finally:
        kubectl("delete", "--ignore-not-found", "--filename", folder)


def issuer(namespace: str, name: str) -> str:
    """Makes an issuer with a CA of its own; the CA's certificate."""
    made = new_authority()
    metadata = {"name": name, "namespace": namespace}
    files = {CERTIFICATE: made[AUTHORITY].decode(), KEY: made[AUTHORITY_KEY].decode()}
    signs: dict[str, Any] = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "spec": {"ca": {"secretName": name}}}
    apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "stringData": files},
        {**signs, "metadata": metadata},
    )
    return files[CERTIFICATE]


def renew(namespace: str, name: str) -> None:
    """Has a certificate issued again at once, as `cmctl renew` does."""
    due = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test"}
    place = ("certificates.cert-manager.io", name, "--namespace", namespace)
    known = json.loads(kubectl("get", *place, "--output", "json"))["status"]["conditions"]
    patch = {"status": {"conditions": [*(each for each in known if each["type"] != "Issuing"), due]}}
    kubectl("patch", *place, "--subresource", "status", "--type", "merge", "--patch", json.dumps(patch))
