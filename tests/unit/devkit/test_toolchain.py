"""Builds are addressed by what goes into them."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devkit import engine, toolchain, versions
from devkit.errors import DevkitError


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELOPS_CACHE", str(tmp_path))
    monkeypatch.setenv("MODELOPS_STATE", str(tmp_path / "state"))


def test_a_cached_build_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(group: toolchain.Group, output: Path, report: object) -> None:
        for name in group.programs:
            (output / name).write_text("program")

    monkeypatch.setattr(toolchain, "_go_build", fake)
    group, said = toolchain.groups()["kubernetes"], list[str]()
    assert not toolchain.is_built(group)
    first = toolchain.build(group, said.append)
    assert (first / "etcd").exists() and not (first / "server").exists()
    assert toolchain.build(group, said.append) == first
    assert said == ["cached"]


def test_two_that_want_the_same_build_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on, builds = threading.Event(), threading.Event(), list[Path]()

    def slow(group: toolchain.Group, output: Path, report: object) -> None:
        builds.append(output)
        started.set()
        assert go_on.wait(20)
        for name in group.programs:
            (output / name).write_text("program")

    monkeypatch.setattr(toolchain, "_go_build", slow)
    group, said = toolchain.groups()["prometheus"], list[str]()

    def report(text: str) -> None:
        said.append(text)
        go_on.set()  # the second one has come this far while the first is at work

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(toolchain.build, group, lambda _: None)
        assert started.wait(20)
        second = pool.submit(toolchain.build, group, report)
        assert first.result(20) == second.result(20)
    assert len(builds) == 1
    assert said == ["waiting for another process that is building it", "cached"]


def test_a_broken_off_build_is_not_taken_for_a_finished_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(group: toolchain.Group, output: Path, report: object) -> None:
        (output / "pulumi").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(toolchain, "_go_build", broken)
    group = toolchain.groups()["pulumi"]
    with pytest.raises(KeyboardInterrupt):
        toolchain.build(group, lambda _: None)
    assert not toolchain.is_built(group)


def test_other_flags_make_another_build() -> None:
    group = toolchain.groups()["pulumi"]
    other = dataclasses.replace(group, linker_versions={"x": "1"})
    assert toolchain._target(group) != toolchain._target(other)


def test_versions_come_from_the_files_that_pin_them() -> None:
    assert versions.kubernetes() == versions.go_module("kubernetes", "k8s.io/kubernetes")
    assert versions.pulumi() == versions.go_module("pulumi", "github.com/pulumi/pulumi/pkg/v3")
    assert versions.plugin("docker-build") == versions.go_module(
        "docker-build", "github.com/pulumi/pulumi-docker-build"
    )


def test_an_engine_given_by_variable_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    program.write_text("#!/bin/sh\necho v3.1.4\n")
    program.chmod(0o755)
    monkeypatch.setenv("MODELOPS_PULUMI", str(program))
    found = engine.find_engine(lambda _: None)
    assert found.path == program and "MODELOPS_PULUMI" in found.origin
    assert engine.engine_version(found.path) == "3.1.4"


def test_a_variable_that_names_no_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_PULUMI", "/nowhere/pulumi")
    with pytest.raises(DevkitError, match="MODELOPS_PULUMI names /nowhere/pulumi"):
        engine.find_engine(lambda _: None)


def test_an_installed_official_engine_comes_before_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho v{versions.pulumi()}\n")
    program.chmod(0o755)
    monkeypatch.delenv("MODELOPS_PULUMI", raising=False)
    monkeypatch.setenv("PATH", str(program.parent))
    assert engine.find_engine(lambda _: None).path == program
