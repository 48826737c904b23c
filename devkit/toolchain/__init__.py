"""Builds the programs of the local platform from Go modules: pinned, verified by go.sum, cached, resumable.

Each folder beside this file is one Go module whose `tool` directives name the programs. Programs that agree on their
dependencies' versions share a module, because Go then compiles a shared package once. A finished build is cached
under a fingerprint of all its inputs; an interrupted one continues from Go's own build cache.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devkit import versions
from devkit.errors import DevkitError
from devkit.paths import cache_root
from devkit.steps import Report

_FOLDER = Path(__file__).resolve().parent
_ENGINE_VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
_PROMETHEUS_VERSION = "github.com/prometheus/common/version.Version"
_DOCKER_BUILD_VERSION = "github.com/pulumi/pulumi-docker-build/provider.Version"


@dataclass(frozen=True)
class Group:
    """A Go module and how it is built."""

    name: str
    programs: Mapping[str, str]
    """File name that Go gives a program → name that it is installed under."""
    tags: str = ""
    linker_versions: Mapping[str, str] = field(default_factory=dict)
    """Go variable → version that the linker writes into it."""
    home: Path = _FOLDER
    """The folder that contains the module's folder."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of `go build` that shape the result."""
        link = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.linker_versions.items())])
        return ("-trimpath", "-buildvcs=false", f"-tags={self.tags}", f"-ldflags={link}")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _kubernetes_versions() -> dict[str, str]:
    version = versions.kubernetes()
    major, minor, _ = version.split(".", 2)
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


def groups() -> dict[str, Group]:
    """The groups by name."""
    all_groups = [
        Group(
            "containers",
            _same("containerd", "containerd-shim-runc-v2", "ctr", "buildkitd", "buildctl"),
            tags="no_btrfs,no_devmapper,no_zfs",
        ),
        Group(
            "kubernetes",
            _same("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
            | _same("coredns", "metrics-server")
            | {"server": "etcd"},
            linker_versions=_kubernetes_versions(),
        ),
        # Kubernetes is the one service discovery that our scrape configuration uses; others bring every cloud's SDK.
        Group(
            "prometheus",
            _same("prometheus", "promtool"),
            tags="netgo,remove_all_sd,enable_kubernetes_sd",
            linker_versions={_PROMETHEUS_VERSION: versions.prometheus()},
        ),
        # Unlike upstream's, its image here has no time zone files; without them a CronJob's time zone ends the program.
        Group(
            "kube-state-metrics",
            _same("kube-state-metrics"),
            tags="timetzdata",
            linker_versions={_PROMETHEUS_VERSION: versions.kube_state_metrics()},
        ),
        Group("pulumi", _same("pulumi"), linker_versions={_ENGINE_VERSION: versions.pulumi()}),
        Group(
            "docker-build",
            _same("pulumi-resource-docker-build"),
            linker_versions={_DOCKER_BUILD_VERSION: versions.plugin("docker-build")},
        ),
    ]
    return {group.name: group for group in all_groups}


def is_built(group: Group) -> bool:
    """Whether the cache has the currently pinned `group`."""
    return _target(group).is_dir()


def build(group: Group, report: Report) -> Path:
    """Builds `group` unless the cache has it; returns the folder of its programs.

    Waits for another process that is building it. Raises DevkitError with the compiler's last lines
    when the build fails.
    """
    target = _target(group)
    with _locked(target, report):
        if target.is_dir():
            report("cached")
            return target
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _go_build(group, partial, report)
        for built, name in group.programs.items():
            (partial / built).rename(partial / name)
        partial.rename(target)
    return target


@contextmanager
def _locked(target: Path, report: Report) -> Iterator[None]:
    """Keeps other processes, such as a test beside an `up`, from building the same. The lock ends with its process."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another process that is building it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _go_build(group: Group, output: Path, report: Report) -> None:
    log = cache_root() / "logs" / f"build-{group.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["go", "build", "-v", "-mod=readonly", *group.flags, "-o", f"{output}/", "tool"]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    compiled = 0
    last: list[str] = []
    with (
        log.open("w") as sink,
        subprocess.Popen(
            command,
            cwd=group.home / group.name,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            sink.write(line)
            last = [*last[-14:], line.rstrip()]
            if line.startswith("go: downloading"):
                report(f"downloading {line.split()[2]}")
            else:
                compiled += 1
                report(f"{compiled} packages compiled")
    if process.returncode != 0:
        tail = "\n  ".join(last)
        raise DevkitError(
            f"building {group.name} from Go modules failed (full log: {log}):\n  {tail}",
            "if the Go module proxy is out of reach, check `go env GOPROXY` and the network; then run this again: "
            "the build continues where it stopped",
        )


def identity(group: Group) -> str:
    """Identifies a group's pins and flags."""
    return f"{group.name}-{_fingerprint(group)}"


def _target(group: Group) -> Path:
    return cache_root() / "bin" / identity(group)


def _fingerprint(group: Group) -> str:
    digest = hashlib.sha256()
    for file in sorted((group.home / group.name).rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(group.home).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update("\0".join(group.flags).encode())
    return digest.hexdigest()[:16]
