"""Debian packages: a few installed on the system, others only unpacked into the cache and run from there."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from devkit.steps import Report

# Only what has to be installed on the system to work.
SYSTEM_PACKAGES: tuple[str, ...] = (
    "ca-certificates",
    "debian-archive-keyring",
    "gpgv",
    "iproute2",
    "iptables",
    "openssl",
    "wget",
)
# Run from the cache: no service is installed or started on the host.
EXTRACTED_PACKAGES: tuple[str, ...] = (
    "containernetworking-plugins",
    "debootstrap",
    "docker-registry",
    "runc",
)
_EXPECTED_FILES = {
    "containernetworking-plugins": "usr/lib/cni/bridge",
    "debootstrap": "usr/sbin/debootstrap",
    "docker-registry": "usr/bin/docker-registry",
    "runc": "usr/sbin/runc",
}


def root(layout: Layout) -> Path:
    """The folder that holds the extracted packages as if it were /."""
    return layout.packages / "root"


def tool(layout: Layout, package: str) -> Path:
    """The program (for the network plugins: one of them) that `package` was extracted for."""
    return root(layout) / _EXPECTED_FILES[package]


def search_path(layout: Layout) -> str:
    """A PATH with the extracted programs first, then the caller's, then the system's."""
    extracted = [root(layout) / "usr/sbin", root(layout) / "usr/bin"]
    return ":".join([*map(str, extracted), os.environ.get("PATH", ""), "/usr/sbin:/usr/bin:/sbin:/bin"])


def missing_system_packages() -> list[str]:
    """Those of SYSTEM_PACKAGES that are not installed."""
    if shutil.which("dpkg-query") is None:
        raise DevkitError("dpkg-query is missing", "the embedded cluster needs Debian or one of its derivatives")
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *SYSTEM_PACKAGES]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in SYSTEM_PACKAGES if name not in installed]


def missing_extracted_packages(layout: Layout) -> list[str]:
    """Those of EXTRACTED_PACKAGES that are not in the cache."""
    return [name for name in EXTRACTED_PACKAGES if not _mark(layout, name).exists()]


def install_packages(layout: Layout, report: Report) -> None:
    """Installs and extracts what is missing; does nothing if nothing is. Raises DevkitError with apt's own error."""
    install, extract = missing_system_packages(), missing_extracted_packages(layout)
    if not install and not extract:
        report("cached")
        return
    report("reading Debian's package lists")
    _apt(["apt-get", "update", "-qq"])
    if install:
        report(f"installing {' '.join(install)}")
        _apt(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *install])
    if extract:
        report(f"fetching {' '.join(extract)}")
        _extract(layout, extract)


def extract_packages(layout: Layout, names: Sequence[str], report: Report) -> None:
    """Extracts those of `names` that are missing, and installs nothing. Raises DevkitError with apt's own error."""
    if unknown := set(names) - set(EXTRACTED_PACKAGES):
        raise ValueError(f"not among EXTRACTED_PACKAGES: {sorted(unknown)}")
    missing = [name for name in missing_extracted_packages(layout) if name in names]
    if not missing:
        report("cached")
        return
    report(f"fetching {' '.join(missing)}")
    try:
        _extract(layout, missing)
    except DevkitError:  # perhaps only because the package lists are old or missing
        _apt(["apt-get", "update", "-qq"])
        _extract(layout, missing)


def _extract(layout: Layout, names: Sequence[str]) -> None:
    layout.packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.packages) as folder:
        os.chmod(folder, 0o755)  # apt downloads as its own user where it can
        _apt(["apt-get", "download", "-qq", *names], cwd=folder)
        for name in names:
            archive = next(Path(folder).glob(f"{name}_*.deb"))
            _apt(["dpkg-deb", "-x", str(archive), str(root(layout))])
            if not (root(layout) / _EXPECTED_FILES[name]).exists():
                raise DevkitError(f"the Debian package {name} has no {_EXPECTED_FILES[name]}", "use Debian 12")
            _mark(layout, name).write_text(archive.name + "\n")


def _mark(layout: Layout, name: str) -> Path:
    return layout.packages / f"{name}.extracted"


def _apt(command: list[str], cwd: str | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise DevkitError(f"{command[0]} is missing", "the embedded cluster needs Debian or one of its derivatives")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "W:", "dpkg"))]
        raise DevkitError(
            f"{' '.join(command[:3])} failed: {(errors or ['no reason given'])[0]}", "check apt's sources"
        )
