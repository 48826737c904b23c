"""A cluster that does not answer."""

from pathlib import Path

import pulumi_kubernetes as k8s
import pytest
import yaml
from pulumi import ResourceOptions

from tests.cluster.support import kubectl

_NOWHERE = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
)


def _program(provider):
    k8s.core.v1.ConfigMap(
        "settings", metadata={"name": "settings"}, data={"a": "1"}, opts=ResourceOptions(provider=provider)
    )


def test_a_preview_works_and_an_update_fails(new_stack) -> None:
    stack = new_stack()
    preview = stack.preview(_program, kubeconfig=_NOWHERE)
    assert preview.changed()["settings"] == ["create"]
    failed = stack.up(_program, succeed=False, kubeconfig=_NOWHERE)
    assert "unreachable" in failed.text and "settings" in failed.text


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig of the cluster, to be overwritten."""
    path = tmp_path / "kubeconfig"
    path.write_text(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    return path


def test_resources_of_a_lost_cluster_are_dropped_only_on_demand(new_stack, namespace: str, kubeconfig: Path) -> None:
    stack = new_stack(namespace=namespace, KUBECONFIG=str(kubeconfig))
    stack.up(_program)
    kubeconfig.write_text(_NOWHERE)
    for failed in (stack.refresh(succeed=False), stack.destroy(succeed=False)):
        assert "unreachable" in failed.text and "PULUMI_K8S_DELETE_UNREACHABLE" in failed.text
    assert "settings" in stack.state()
    stack.environment["PULUMI_K8S_DELETE_UNREACHABLE"] = "true"
    stack.refresh()
    assert "settings" not in stack.state()


def test_delete_unreachable_is_a_setting_of_the_provider(new_stack, namespace: str, kubeconfig: Path) -> None:
    stack = new_stack(namespace=namespace, KUBECONFIG=str(kubeconfig))
    stack.up(_program, delete_unreachable=True)
    kubeconfig.write_text(_NOWHERE)
    stack.destroy()
    assert "settings" not in stack.state()
