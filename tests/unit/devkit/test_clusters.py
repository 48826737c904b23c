"""Which cluster `up` takes, and that it never takes one that nobody named."""

import json
import os
import stat
from pathlib import Path

import pytest

from devkit import clusters
from devkit.errors import DevkitError


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.dev.yaml").write_text("config:\n  modelops:namespace: x\n")
    (tmp_path / "stacks" / "Pulumi.prod.yaml").write_text("config:\n  kubernetes:context: their-prod # theirs\n")
    monkeypatch.setattr(clusters, "REPOSITORY", tmp_path)
    monkeypatch.setenv("MODELOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MODELOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def pretend(folder: Path, name: str, script: str = "exit 0") -> None:
    """A program on the PATH that notes how it was called."""
    file = folder / "bin" / name
    file.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{script}\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def calls(folder: Path) -> str:
    return (folder / "calls").read_text()


def test_the_context_that_the_stack_names_comes_first(own_folders: Path) -> None:
    pretend(own_folders, "minikube")
    chosen = clusters.choose(None, "prod")
    assert (chosen.kind, chosen.name) == ("context", "their-prod")  # type: ignore[attr-defined]


def test_an_installed_minikube_comes_before_kind_and_both_before_the_embedded_cluster(own_folders: Path) -> None:
    assert clusters.choose(None, "dev").kind == "embedded"
    pretend(own_folders, "kind")
    assert clusters.choose(None, "dev").kind == "kind"
    pretend(own_folders, "minikube")
    assert clusters.choose(None, "dev").kind == "minikube"


def test_a_choice_by_hand_wins(own_folders: Path) -> None:
    pretend(own_folders, "minikube")
    assert clusters.choose("embedded", "prod").kind == "embedded"


def test_a_context_that_no_config_names_is_refused() -> None:
    with pytest.raises(DevkitError, match=r"stacks/Pulumi\.dev\.yaml names no context"):
        clusters.choose("context", "dev")


def test_a_tool_that_is_not_installed_is_refused() -> None:
    with pytest.raises(DevkitError, match="kind is not installed"):
        clusters.choose("kind", "dev")


def test_an_unknown_stack_is_named_with_those_there_are() -> None:
    with pytest.raises(DevkitError, match="choose one of dev, prod"):
        clusters.choose(None, "quality")


def test_the_choice_is_remembered_for_down_and_status(own_folders: Path) -> None:
    assert clusters.running() is None
    clusters.remember(clusters.choose(None, "prod"))
    found = clusters.running()
    assert found is not None and found.kind == "context"
    assert json.loads((own_folders / "state" / "cluster.json").read_text())["context"] == "their-prod"


def test_kind_gets_a_registry_and_a_kubeconfig_of_its_own(own_folders: Path) -> None:
    pretend(own_folders, "kind")
    pretend(own_folders, "docker", 'case "$1 $2" in "inspect "*|"buildx inspect") exit 1;; esac')
    clusters.Kind().start(lambda _: None)
    made = calls(own_folders)
    assert "docker run -d --restart=always -p 127.0.0.1:5001:5000 --name modelops-registry" in made
    assert f"--kubeconfig {own_folders}/state/kubeconfig" in made
    assert "docker buildx create --name modelops" in made


def test_minikube_gets_a_profile_of_its_own_and_is_deleted_by_that_name(own_folders: Path) -> None:
    for name in ("minikube", "kubectl", "docker"):
        pretend(own_folders, name)
    clusters.Minikube().start(lambda _: None)
    clusters.Minikube().stop(lambda _: None)
    made = calls(own_folders)
    assert "minikube --profile modelops start" in made
    assert "minikube --profile modelops addons enable registry" in made
    assert "minikube --profile modelops delete" in made


def test_without_a_docker_engine_minikube_and_kind_say_so(own_folders: Path) -> None:
    pretend(own_folders, "kind")
    pretend(own_folders, "docker", "exit 1")
    with pytest.raises(DevkitError, match="needs a running Docker engine"):
        clusters.Kind().start(lambda _: None)


def test_the_devkits_kubeconfig_is_not_the_users(own_folders: Path) -> None:
    assert clusters.Kind().environment() == {"KUBECONFIG": str(own_folders / "state" / "kubeconfig")}
    assert os.environ.get("KUBECONFIG") != str(own_folders / "state" / "kubeconfig")
