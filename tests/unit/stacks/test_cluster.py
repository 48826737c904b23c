"""Which cluster may be touched without being named."""

import json
from pathlib import Path

import pytest
import yaml

from stacks.cluster import is_local, problem_with_current_context


def kubeconfig(folder: Path, name: str, server: str) -> dict[str, str]:
    path = folder / "config"
    document = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
    }
    path.write_text(yaml.safe_dump(document))
    return {"KUBECONFIG": str(path)}


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("anything", "https://127.0.0.1:6443"),
        ("anything", "https://[::1]:6443"),
        ("anything", "https://localhost:8443"),
        ("docker-desktop", "https://kubernetes.docker.internal:6443"),
        ("minikube", "https://192.168.49.2:8443"),
        ("kind-test", "https://10.0.0.7:6443"),
        ("k3d-test", "https://0.0.0.0:6443"),
    ],
)
def test_local_clusters_may_be_used(tmp_path: Path, context: str, server: str) -> None:
    assert is_local(context, server)
    assert problem_with_current_context(kubeconfig(tmp_path, context, server)) is None


@pytest.mark.parametrize(
    ("context", "server"),
    [("prod", "https://10.0.0.7:6443"), ("minikube-prod", "https://api.example.com"), ("prod", "https://127.evil.com")],
)
def test_other_clusters_must_be_named(tmp_path: Path, context: str, server: str) -> None:
    problem = problem_with_current_context(kubeconfig(tmp_path, context, server))
    assert problem is not None
    assert f"`pulumi config set kubernetes:context {context}` allows it" in problem


def test_the_platforms_own_cluster_may_be_used_whatever_its_address(tmp_path: Path) -> None:
    """Minikube's is that of a container on Linux, and its context has the name of our profile."""
    own = kubeconfig(tmp_path, "modelops", "https://192.168.49.2:8443")
    assert problem_with_current_context(own) is not None
    (tmp_path / "platform.json").write_text(json.dumps({"kubeconfig": own["KUBECONFIG"]}))
    platform = {"MODELOPS_PLATFORM": str(tmp_path / "platform.json")}
    assert problem_with_current_context(own | platform) is None
    (tmp_path / "other").mkdir()
    other = kubeconfig(tmp_path / "other", "modelops", "https://192.168.49.2:8443")
    assert problem_with_current_context(other | platform) is not None


def test_no_kubeconfig_is_a_problem(tmp_path: Path) -> None:
    problem = problem_with_current_context({"KUBECONFIG": str(tmp_path / "none")})
    assert problem is not None
    assert "required without a kubeconfig" in problem


def test_no_current_context_is_a_problem(tmp_path: Path) -> None:
    problem = problem_with_current_context(kubeconfig(tmp_path, "", ""))
    assert problem is not None
    assert "no current context" in problem
