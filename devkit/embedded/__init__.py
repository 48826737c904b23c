"""A one-node Kubernetes cluster with a real kubelet, an image builder and a registry, on this machine alone.

Everything listens on loopback or on the pods' bridge. `stop` leaves the host as `start` found it.
"""

from pathlib import Path

from devkit.embedded import lifecycle
from devkit.embedded import packages as _packages
from devkit.embedded.layout import BUILDER, REGISTRY, Layout
from devkit.embedded.packages import EXTRACTED_PACKAGES, SYSTEM_PACKAGES
from devkit.steps import Report

__all__ = [
    "BUILDER",
    "EXTRACTED_PACKAGES",
    "REGISTRY",
    "SYSTEM_PACKAGES",
    "buildkit_address",
    "environment",
    "install_packages",
    "kubeconfig",
    "missing_packages",
    "port_problems",
    "start",
    "status",
    "stop",
]


def missing_packages() -> tuple[list[str], list[str]]:
    """What `install_packages` would do now: packages to install on the system, packages to unpack into the cache."""
    return _packages.missing_system_packages(), _packages.missing_extracted_packages(Layout())


def install_packages(report: Report) -> None:
    """Installs SYSTEM_PACKAGES with apt and unpacks EXTRACTED_PACKAGES into the cache, whichever are missing.

    Raises DevkitError with apt's reason.
    """
    _packages.install_packages(Layout(), report)


def port_problems() -> list[str]:
    """One line for each taken port that a stopped part needs: port, part, holder, remedy. Empty if there is none."""
    return lifecycle.port_problems(Layout())


def start(binaries: Path, report: Report) -> None:
    """Starts what isn't running, from the programs in the folder `binaries`, and waits until everything responds.

    Raises DevkitError with the part that failed and the end of its log, or with the port that is taken and its holder.
    """
    lifecycle.start(Layout(), binaries, report)


def stop(report: Report) -> None:
    """Stops the cluster, removes its state and every trace on the host; caches stay. Raises DevkitError on failure."""
    lifecycle.stop(Layout(), report)


def status() -> dict[str, object]:
    """`parts`: name → ok, pid, rss_kib, pss_kib; `memory`: sums of the proportional set sizes in KiB."""
    return lifecycle.status(Layout())


def kubeconfig() -> Path:
    """The administrator's kubeconfig; it names the API server at 127.0.0.1."""
    return Layout().kubeconfig


def buildkit_address() -> str:
    """Where buildkitd listens, as buildctl's --addr takes it: unix://…"""
    return f"unix://{Layout().buildkit_socket}"


def environment() -> dict[str, str]:
    """Variables with which kubectl finds the cluster, and buildx and the docker-build provider the builder."""
    layout = Layout()
    return {
        "BUILDX_CONFIG": str(layout.buildx),
        "KUBECACHEDIR": str(layout.kubectl_cache),
        "KUBECONFIG": str(layout.kubeconfig),
    }
