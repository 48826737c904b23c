"""Our place in both versions of cgroups."""

from pathlib import Path

import pytest

from devkit.embedded import cgroups


def test_cgroup_folder_with_version_2_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids hugetlb\n")
    (tmp_path / "cgroup.subtree_control").touch()
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path)
    assert cgroups.folders() == [tmp_path / "modelops"]
    cgroups.ensure()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +hugetlb +memory +pids +io"


def test_cgroup_folders_with_version_1_are_one_for_each_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cpu,cpuacct", "memory", "not-a-hierarchy"):
        (tmp_path / name).mkdir()
    for name in ("cpu,cpuacct", "memory"):
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path)
    monkeypatch.setattr(cgroups, "_device", lambda path: hash(path.name))
    assert cgroups.folders() == [tmp_path / "cpu,cpuacct/modelops", tmp_path / "memory/modelops"]
