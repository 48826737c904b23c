"""The parts' command lines."""

from pathlib import Path

import pytest

from devkit.embedded import parts
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError

PROGRAMS = (
    "etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet containerd buildkitd coredns "
    "metrics-server"
).split()


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """A folder with an empty file for each program."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).touch()
    return folder


def test_every_part_of_every_stage_is_there(layout: Layout, binaries: Path) -> None:
    assert sorted(parts.all_parts(layout, binaries)) == sorted(parts.PART_NAMES)


def test_missing_program_is_named(layout: Layout, binaries: Path) -> None:
    (binaries / "coredns").unlink()
    with pytest.raises(DevkitError, match="has no coredns"):
        parts.all_parts(layout, binaries)


def test_etcd_may_have_the_name_that_go_gave_it(layout: Layout, binaries: Path) -> None:
    (binaries / "etcd").rename(binaries / "server")
    assert parts.all_parts(layout, binaries)["etcd"].command[0] == str(binaries / "server")


def test_api_server_encrypts_secrets_and_checks_every_request(layout: Layout, binaries: Path) -> None:
    command = parts.all_parts(layout, binaries)["kube-apiserver"].command
    assert "--anonymous-auth=false" in command
    assert "--authorization-mode=Node,RBAC" in command
    assert any(flag.startswith("--encryption-provider-config=") for flag in command)
    assert any("PodSecurity" in flag for flag in command)
    assert not any(flag.startswith("--audit") for flag in command)


def test_no_user_setting_reaches_a_part(layout: Layout, binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere/else")
    assert "KUBECONFIG" not in parts.environment(layout, binaries)


def test_cluster_addresses_never_go_through_a_proxy(
    layout: Layout, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    entries = parts.environment(layout, binaries)["NO_PROXY"].split(",")
    assert entries[0] == "intranet"
    assert "10.203.128.0/18" in entries
