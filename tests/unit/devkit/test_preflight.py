"""Each thing that keeps the platform from starting is named in one line, with what to do."""

import os
import shutil
from pathlib import Path

import pytest

from devkit import preflight


def test_another_system_than_linux_is_named_with_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    [problem] = preflight.embedded_problems(warm=True)
    assert "Darwin" in problem and "Minikube" in problem


def test_not_being_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any("not root" in problem and "sudo" in problem for problem in preflight.embedded_problems(True))


def test_a_missing_go_is_named_only_when_something_has_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **kw: None if name == "go" else which(name, **kw))
    assert any(problem.startswith("no Go") for problem in preflight.embedded_problems(False))
    assert not any(problem.startswith("no Go") for problem in preflight.embedded_problems(True))


def test_a_small_disk_is_named_with_the_variable_that_moves_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELOPS_CACHE", str(tmp_path))
    problems = preflight.disk_problems(needed_gib=10**6)
    assert any("MODELOPS_CACHE" in problem and "1000000 GiB are needed" in problem for problem in problems)


def test_an_unreachable_registry_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    problems = preflight.registry_problems()
    assert [problem.split(" is ")[0] for problem in problems] == ["the Go module proxy", "the Python package index"]
