"""Each thing that keeps the platform from starting is named in one line, with what to do, before the long work."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit import bootstrap, clusters, engine, preflight, toolchain, versions
from devkit.clusters.tools import NODE_PORTS, REGISTRY_PORT
from devkit.preflight import Needs

SMALL = Needs("a minute", disk_gib=0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with these programs on its PATH, and no others; see `pretend`."""
    (tmp_path / "bin").mkdir()
    for name in ("STATE", "CACHE", "STACKS"):
        monkeypatch.setenv(f"MODELOPS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def pretend(folder: Path, name: str, script: str = "exit 0") -> None:
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / name).chmod(0o755)


def docker(folder: Path, memory_gib: float = 8, buildx: int = 0) -> None:
    """A Docker engine with this much memory, on a machine without clusters."""
    pretend(folder, "kind")
    script = f'case "$1" in info) echo {int(memory_gib * 2**30)};; buildx) exit {buildx};; inspect) exit 1;; esac'
    pretend(folder, "docker", script)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_another_system_than_linux_is_named_with_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    [problem] = preflight.embedded_problems(SMALL)
    assert "Darwin" in problem and "Minikube" in problem


def test_not_being_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any("not root" in problem and "sudo" in problem for problem in preflight.embedded_problems(SMALL))


def test_root_is_not_needed_where_docker_is(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    docker(machine)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preflight, "port_problems", lambda _: [])
    assert preflight.docker_problems(clusters.Kind(), SMALL) == []


def test_a_missing_docker_is_named(machine: Path) -> None:
    pretend(machine, "kind")
    [problem] = preflight.docker_problems(clusters.Kind(), SMALL)
    assert problem.startswith("no docker, which kind needs — install Docker")


def test_a_docker_that_does_not_run_is_named_with_its_reason(machine: Path) -> None:
    pretend(machine, "minikube")
    pretend(machine, "docker", "echo is the docker daemon running >&2; exit 1")
    [problem] = preflight.docker_problems(clusters.Minikube(), SMALL)
    assert "minikube needs a running Docker engine" in problem and "is the docker daemon running" in problem


def test_the_memory_that_counts_is_that_of_dockers_virtual_machine(machine: Path) -> None:
    docker(machine, memory_gib=1.9)
    problems = preflight.docker_problems(clusters.Kind(), Needs("a minute", 0, memory_gib=4))
    assert problems[0].startswith("Docker has 1.9 GiB of memory, 4 GiB are needed")


def test_a_docker_without_buildx_is_named(machine: Path) -> None:
    docker(machine, buildx=1)
    assert "no buildx" in preflight.docker_problems(clusters.Kind(), SMALL)[0]


def test_a_port_that_is_taken_is_named_with_how_to_see_by_what(taken_port: int) -> None:
    [problem] = preflight.port_problems([taken_port])
    assert problem.startswith(f"port {taken_port} is taken") and f"lsof -nP -i :{taken_port}" in problem


def test_a_port_is_not_taken_by_the_cluster_that_uses_it_already(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(machine)
    monkeypatch.setattr(preflight, "_is_taken", lambda _: True)
    assert len(preflight.docker_problems(clusters.Kind(), SMALL)) == 33
    pretend(machine, "kind", "echo modelops")
    assert preflight.docker_problems(clusters.Kind(), SMALL) == []


def test_no_port_is_one_on_which_macos_itself_listens() -> None:
    assert not {5000, 7000} & {*NODE_PORTS, REGISTRY_PORT}


def test_a_cluster_of_the_users_needs_kubectl(machine: Path) -> None:
    assert any("no kubectl" in problem for problem in preflight.check(clusters.Context("theirs")).problems)


def test_a_pulumi_of_the_users_that_is_too_old_is_named_with_both_versions(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(machine, "pulumi", "echo v3.100.0")
    monkeypatch.setenv("MODELOPS_PULUMI", str(machine / "bin" / "pulumi"))
    [problem] = preflight.engine_problems()
    assert "names Pulumi 3.100.0" in problem and versions.pulumi() in problem


def test_a_pulumi_that_cannot_be_run_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_PULUMI", str(machine / "nothing"))
    [problem] = preflight.engine_problems()
    assert "is not an executable file" in problem


@pytest.mark.parametrize(
    ("version", "suitable"),
    [(versions.pulumi(), True), ("3.999.0", True), ("3.100.0", False), ("4.0.0", False), ("unknown", False)],
)
def test_an_installed_pulumi_is_used_only_if_it_is_not_older(machine: Path, version: str, suitable: bool) -> None:
    pretend(machine, "pulumi", f"echo v{version}")
    assert engine.is_suitable(machine / "bin" / "pulumi") is suitable


def test_an_unsuitable_installed_pulumi_is_passed_over_and_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(machine, "pulumi", "echo v3.100.0")
    monkeypatch.setattr(toolchain, "is_built", lambda _: True)
    monkeypatch.setattr(toolchain, "build", lambda group, report: tmp_path)
    said: list[str] = []
    assert engine.find_engine(said.append).path == tmp_path / "pulumi"
    assert "the installed Pulumi 3.100.0 is not used" in said[0]


def test_go_is_asked_for_only_where_something_has_to_be_built(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "release_answers", lambda: True)
    assert preflight.go_is_needed(clusters.Embedded()) and not preflight.go_is_needed(clusters.Kind())
    monkeypatch.setattr(engine, "release_answers", lambda: False)
    assert preflight.go_is_needed(clusters.Kind())
    pretend(machine, "pulumi", f"echo v{versions.pulumi()}")
    assert not preflight.go_is_needed(clusters.Kind())


def test_a_missing_go_is_named(machine: Path) -> None:
    assert preflight.download_problems(go=True, python=False)[0].startswith("no Go")
    assert preflight.download_problems(go=False, python=False) == []


def test_a_small_disk_is_named_with_the_variable_that_moves_the_folder(machine: Path) -> None:
    problems = preflight.disk_problems(needed_gib=10**6)
    assert any("MODELOPS_CACHE" in problem and "1000000 GiB are needed" in problem for problem in problems)


def test_time_disk_and_memory_are_named_for_the_way_that_will_be_taken(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(machine)
    cold = {cluster.kind: str(preflight.needs_of(cluster)) for cluster in (clusters.Embedded(), clusters.Kind())}
    assert "24 GiB of disk, 4 GiB of memory" in cold["embedded"] and "compiling" in cold["embedded"]
    assert "compiling" not in cold["kind"]
    monkeypatch.setattr(toolchain, "is_built", lambda _: True)
    assert "6 GiB of disk" in str(preflight.needs_of(clusters.Embedded()))


def test_unreachable_registries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    problems = preflight.download_problems(go=True, python=True)
    assert [problem.split(" is ")[0] for problem in problems] == ["the Go module proxy", "the Python package index"]
    assert preflight.download_problems(go=False, python=False) == []


def test_a_python_without_pip_asks_the_index_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else found(name))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    [problem] = preflight.package_index_problems()
    assert problem.startswith("the Python package index is out of reach") and "refused" in problem


def test_a_python_that_cannot_make_environments_is_named_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    [problem] = preflight.venv_problems()
    assert "python3-venv" in problem


def test_a_machine_that_is_ready_has_no_problem(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(machine)
    pretend(machine, "pulumi", f"echo v{versions.pulumi()}")
    monkeypatch.setattr(preflight, "port_problems", lambda _: [])
    monkeypatch.setattr(preflight, "disk_problems", lambda _: [])
    monkeypatch.setattr(bootstrap, "python", lambda: Path("/bin/sh"))
    assert preflight.check(clusters.Kind()).problems == ()
    assert shutil.which("go") is None
