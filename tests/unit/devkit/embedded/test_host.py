"""What is remembered of the host, and put back."""

import json
from pathlib import Path

import pytest

from devkit.embedded import host
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError


def test_cgroup_folder_with_version_2_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids hugetlb\n")
    (tmp_path / "cgroup.subtree_control").touch()
    monkeypatch.setattr(host, "CGROUPS", tmp_path)
    assert host.cgroup_folders() == [tmp_path / "modelops"]
    host.ensure_cgroups()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +io +memory +pids"


def test_cgroup_folders_with_version_1_are_one_for_each_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cpu,cpuacct", "memory", "not-a-hierarchy"):
        (tmp_path / name).mkdir()
    for name in ("cpu,cpuacct", "memory"):
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    monkeypatch.setattr(host, "CGROUPS", tmp_path)
    monkeypatch.setattr(host, "_device", lambda path: hash(path.name))
    assert host.cgroup_folders() == [tmp_path / "cpu,cpuacct/modelops", tmp_path / "memory/modelops"]


def test_kept_folders_lose_only_what_came_later(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "theirs").touch()
    monkeypatch.setattr(host, "KEPT_FOLDERS", (old, new))
    monkeypatch.setattr(host, "saved_tables", lambda family: {})
    layout.cluster.mkdir(parents=True)
    host.remember(layout)
    (old / "ours").mkdir()
    new.mkdir()
    (new / "ours").touch()
    host.remember(layout)
    host.clear_kept_folders(layout)
    assert [path.name for path in old.iterdir()] == ["theirs"]
    assert not new.exists()


def test_nothing_remembered_means_nothing_put_back(layout: Layout) -> None:
    host.restore_sysctls(layout)
    host.clear_kept_folders(layout)
    assert host.remembered(layout) == {}


def test_address_range_in_use_is_refused_with_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = json.dumps([{"dst": "default", "dev": "eth0"}, {"dst": "10.203.0.0/16", "dev": "vpn0"}])
    monkeypatch.setattr(host, "run", lambda *command, **options: routes)
    with pytest.raises(DevkitError, match=r"10\.203\.0\.0/20 .* is routed to vpn0"):
        host.refuse_address_clash()


def test_other_address_ranges_are_no_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = json.dumps([{"dst": "192.0.2.0/24", "dev": "eth0"}, {"dst": "10.203.0.0/20", "dev": "modelops0"}])
    monkeypatch.setattr(host, "run", lambda *command, **options: routes)
    host.refuse_address_clash()


def test_host_of_another_state_folder_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "owner", lambda: "/somewhere/else")
    with pytest.raises(DevkitError, match="MODELOPS_STATE=/somewhere/else"):
        host.ensure_bridge(layout)


def test_failed_command_is_quoted() -> None:
    with pytest.raises(DevkitError, match=r"sh -c .* failed: no luck"):
        host.run("sh", "-c", "echo no luck >&2; exit 1")
