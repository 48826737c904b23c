"""What is remembered of the host, and put back."""

import json
from pathlib import Path

import pytest

from devkit.embedded import cgroups, host, lifecycle
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError


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


def test_address_range_in_use_is_refused_with_the_interface(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = json.dumps([{"dst": "default", "dev": "eth0"}, {"dst": "10.203.0.0/16", "dev": "vpn0"}])
    monkeypatch.setattr(host, "run", lambda *command, **options: routes)
    with pytest.raises(DevkitError, match=r"10\.203\.0\.0/20 .* is routed to vpn0"):
        host.refuse_address_clash(layout)


def test_other_address_ranges_are_no_clash(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = json.dumps([{"dst": "192.0.2.0/24", "dev": "eth0"}, {"dst": "10.203.0.0/20", "dev": "modelops0"}])
    monkeypatch.setattr(host, "run", lambda *command, **options: routes)
    host.refuse_address_clash(layout)


def test_host_of_another_state_folder_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "owner", lambda: "/somewhere/else")
    with pytest.raises(DevkitError, match="MODELOPS_STATE=/somewhere/else"):
        host.ensure_bridge(layout)


def test_failed_command_is_quoted() -> None:
    with pytest.raises(DevkitError, match=r"sh -c .* failed: no luck"):
        host.run("sh", "-c", "echo no luck >&2; exit 1")


def test_stop_without_a_cluster_leaves_the_host_alone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "owner", lambda: None)
    monkeypatch.setattr(lifecycle, "_restore_host", lambda *arguments: pytest.fail("touched the host"))
    monkeypatch.setattr(cgroups, "kill_contained_processes", lambda: pytest.fail("killed processes"))
    lifecycle.stop(layout, print)


def test_stop_leaves_another_clusters_host_alone(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "owner", lambda: "/somewhere/else")
    monkeypatch.setattr(lifecycle, "_restore_host", lambda *arguments: pytest.fail("touched the host"))
    monkeypatch.setattr(cgroups, "kill_contained_processes", lambda: pytest.fail("killed processes"))
    layout.cluster.mkdir(parents=True)
    layout.host_facts.write_text("{}")
    lifecycle.stop(layout, print)
    assert not layout.cluster.exists()


def test_host_is_ours_after_a_reboot_too(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "owner", lambda: None)
    assert not host.is_ours(layout)
    layout.cluster.mkdir(parents=True)
    layout.host_facts.write_text("{}")
    assert host.is_ours(layout)
