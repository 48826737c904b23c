"""Our place in both versions of cgroups."""

import os
import subprocess
import threading
from collections.abc import Iterator
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


@pytest.fixture
def version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cgroup of a real tree of version 2 as the top of one. Where the kernel's controllers are with version 1, as on
    a machine with both, few are left for it."""
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "cgroup2", "none", tmp_path], capture_output=True).returncode
    ):
        pytest.skip("needs root, and a kernel that mounts cgroup v2")
    control = tmp_path / "cgroup.subtree_control"
    before = control.read_text().split()
    controllers = (tmp_path / "cgroup.controllers").read_text().split()
    top = tmp_path / f"test-{os.getpid()}"
    try:
        control.write_text(" ".join(f"+{name}" for name in controllers))
        top.mkdir()
        monkeypatch.setattr(cgroups, "CGROUPS", top)
        yield top
        top.rmdir()
    finally:
        control.write_text(" ".join(f"-{name}" for name in controllers if name not in before))
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_real_tree_of_version_2_is_set_up_used_and_left_as_it_was(version_2: Path) -> None:
    available = (version_2 / "cgroup.controllers").read_text().split()
    before = cgroups.subtree_controllers()
    cgroups.ensure()
    cgroups.ensure()  # as a second start does
    assert set(cgroups.subtree_controllers()) == set(available) & set(cgroups.CONTROLLERS)
    inner = version_2 / "modelops" / "pod" / "container"
    inner.mkdir(parents=True)
    with subprocess.Popen(["sleep", "300"]) as process:
        (inner / "cgroup.procs").write_text(str(process.pid))
        assert cgroups.contained_processes() == {process.pid}
        threading.Thread(target=process.wait).start()  # a dead child that nobody waits for stays in its cgroup
        cgroups.kill_contained_processes()
    assert cgroups.contained_processes() == set()
    cgroups.remove()
    cgroups.restore_controllers(before)
    assert not (version_2 / "modelops").exists() and cgroups.subtree_controllers() == before
