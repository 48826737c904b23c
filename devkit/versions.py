"""The one place to look up versions.

Go programs are pinned by devkit/toolchain/*/go.mod (with go.sum, so that every download is verified), Python packages
by requirements-stack.txt and requirements.txt. This module reads those files; it holds no versions itself.
"""

import re
from functools import cache
from pathlib import Path

from devkit.paths import REPOSITORY

TOOLCHAIN = REPOSITORY / "devkit" / "toolchain"


@cache
def go_module(group: str, module: str, home: Path = TOOLCHAIN) -> str:
    """Version of `module` as pinned by the Go module `home/group`, without the leading v.

    Raises LookupError when the module is not required there.
    """
    text = (home / group / "go.mod").read_text()
    match = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} v(\S+)", text, re.MULTILINE)
    if match is None:
        raise LookupError(f"{home / group}/go.mod does not require {module}")
    return match.group(1)


@cache
def python_package(name: str) -> str:
    """Version of the Python distribution `name`, pinned in a requirement file. Raises LookupError if it is not."""
    for file in ("requirements-stack.txt", "requirements.txt"):
        match = re.search(rf"^{re.escape(name)}==(\S+)", (REPOSITORY / file).read_text(), re.MULTILINE)
        if match:
            return match.group(1)
    raise LookupError(f"{name} is not pinned in requirements-stack.txt or requirements.txt")


def pulumi() -> str:
    """Version of the Pulumi engine and SDK."""
    return python_package("pulumi")


def plugin(name: str) -> str:
    """Version of the Pulumi resource plugin `name` (kubernetes, docker-build): that of its Python SDK."""
    return python_package(f"pulumi-{name}")


def kubernetes() -> str:
    """Version of the embedded Kubernetes."""
    return go_module("kubernetes", "k8s.io/kubernetes")


def prometheus() -> str:
    """Version of Prometheus. Its Go module's version of 3.13.5 is 0.313.5."""
    _, number, patch = go_module("prometheus", "github.com/prometheus/prometheus").split(".")
    return f"{int(number) // 100}.{int(number) % 100}.{patch}"


def kube_state_metrics() -> str:
    """Version of kube-state-metrics."""
    return go_module("kube-state-metrics", "k8s.io/kube-state-metrics/v2")
