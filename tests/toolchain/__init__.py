"""Programs that tests alone need, built and cached as those of the platform are: one Go module in each folder here."""

import fcntl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devkit import toolchain, versions
from devkit.paths import cache_root
from devkit.toolchain import Group

HOME = Path(__file__).resolve().parent
_GROUPS: Mapping[str, str | Mapping[str, str]] = {
    # An object store: small, and its answers are those of S3 (signatures, multipart, ETags).
    "s3": "versitygw",
    # Google Cloud Storage, as far as its own libraries and obstore's reading go.
    "gcs": "fake-gcs-server",
    # The shipper of the log pipeline, and a parser of Logstash's configuration language.
    "beats": "filebeat",
    "logstash-config": "mustache",
    # The controller of TrainingJob's back end of that name.
    "jobset": "jobset",
    # Serves Prometheus' metrics to the autoscaler.
    "adapter": "adapter",
    # Scales to zero, and by Prometheus' answers.
    "keda": {"operator": "keda", "adapter": "keda-adapter", "webhooks": "keda-admission-webhooks"},
    # Issues and renews certificates.
    "cert-manager": "cert-manager",
    # Gateway API's controller; Envoy, which it steers, is in a Python package.
    "gateway": "contour",
    # Makes clusters of Docker's containers.
    "kind": "kind",
}
"""Folder → its program, or its programs by the names that Go gives them. The folder `crds` has none: its modules have
the definitions of other projects' kinds."""


def build(group: str) -> Path:
    """The folder of the programs of one of these groups or of the platform's."""
    own = {name: {given: given} if isinstance(given, str) else given for name, given in _GROUPS.items()}
    known = toolchain.groups() | {name: Group(name, programs, home=HOME) for name, programs in own.items()}
    return toolchain.build(known[group], _say)


def node_program(package: str, program: str) -> Path:
    """A program of a package from npm, `name@version`, installed once without running its scripts."""
    home = cache_root() / "npm" / package
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = home / "node_modules" / ".bin" / program
        if not file.exists():
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", package]
            subprocess.run(command, cwd=home, check=True)
    return file


def _say(text: str) -> None:
    if text != "cached":
        print(text, flush=True)


def version(group: str, module: str) -> str:
    """Version of a module as one of these folders pins it, without the leading v."""
    return versions.go_module(group, module, HOME)
