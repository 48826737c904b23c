"""Kubeconfigs, the provider's settings, and what their change means."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.pulumi_plugins.kubernetes_provider.cluster import kubeconfig, settings
from devkit.pulumi_plugins.kubernetes_provider.cluster.config_diff import diff_config
from devkit.pulumi_plugins.kubernetes_provider.errors import Refused, Unreachable
from devkit.pulumi_plugins.kubernetes_provider.objects.properties import UNKNOWN


def _config(server: str = "https://one", user: str = "u", **context: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": user, "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": user, **context}}],
        "current-context": "x",
    }


def test_a_kubeconfig_is_contents_or_a_path(tmp_path: Path) -> None:
    text = yaml.safe_dump(_config())
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    assert kubeconfig.load(text) == kubeconfig.load(str(path)) == _config()


def test_relative_files_start_at_the_kubeconfig(tmp_path: Path) -> None:
    config = _config()
    config["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    loaded = kubeconfig.load(str(tmp_path / "kubeconfig"))
    assert loaded["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")


def test_the_ambient_kubeconfig_is_merged_from_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text(yaml.safe_dump(_config()))
    other = _config("https://two")
    other["clusters"].append({"name": "d", "cluster": {"server": "https://d"}})
    (tmp_path / "b").write_text(yaml.safe_dump(other))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'none'}")
    merged = kubeconfig.load("")
    assert [entry["cluster"]["server"] for entry in merged["clusters"]] == ["https://one", "https://d"]


def test_a_context_that_is_not_there_is_an_error() -> None:
    with pytest.raises(Unreachable, match="nowhere"):
        kubeconfig.select(_config(), context="nowhere")


def test_the_namespace_is_the_contexts() -> None:
    assert kubeconfig.namespace(_config()) == "default"
    assert kubeconfig.namespace(_config(namespace="there")) == "there"


def test_what_is_no_kubeconfig_is_an_error() -> None:
    with pytest.raises(Unreachable):
        kubeconfig.load("/no/such/file")


def _diff(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    return diff_config({"kubeconfig": yaml.safe_dump(old)}, {"kubeconfig": yaml.safe_dump(new)})


def test_only_another_cluster_replaces() -> None:
    assert _diff(_config(), _config()) == ([], [])
    assert _diff(_config(), _config(user="v")) == (["kubeconfig"], [])
    assert _diff(_config(), _config("https://two")) == (["kubeconfig"], ["kubeconfig"])


def test_an_unknown_kubeconfig_may_be_another_cluster() -> None:
    old = {"kubeconfig": yaml.safe_dump(_config())}
    assert diff_config(old, {"kubeconfig": UNKNOWN}) == (["kubeconfig"], ["kubeconfig"])


def test_a_cluster_identifier_decides_alone() -> None:
    old = {"kubeconfig": yaml.safe_dump(_config()), "clusterIdentifier": "a"}
    moved = {"kubeconfig": yaml.safe_dump(_config("https://two")), "clusterIdentifier": "a"}
    assert diff_config(old, moved)[1] == []
    assert diff_config(old, {**old, "clusterIdentifier": "b"})[1] == ["clusterIdentifier"]


def test_settings_come_from_the_provider_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_K8S_DELETE_UNREACHABLE", "true")
    assert settings.from_variables({}).delete_unreachable
    assert not settings.from_variables({"kubernetes:config:deleteUnreachable": "false"}).delete_unreachable


@pytest.mark.parametrize("name", ["enableServerSideApply", "renderYamlToDirectory"])
def test_settings_that_are_not_supported_are_refused(name: str) -> None:
    value = {"enableServerSideApply": "false"}.get(name, "folder")
    with pytest.raises(Refused):
        settings.from_variables({f"kubernetes:config:{name}": value})
    assert [found for found, _ in settings.refused_settings({name: value})] == [name]
