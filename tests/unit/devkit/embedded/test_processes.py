"""Pid bookkeeping: a reused pid is never taken for ours, a dead part is reported with its last words."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devkit.embedded import processes
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError


@pytest.fixture
def made(layout: Layout) -> Iterator[Layout]:
    """A layout with the folders that starting a part needs; leftovers are stopped."""
    layout.logs.mkdir(parents=True)
    layout.pids.mkdir()
    yield layout
    processes.stop_parts(layout, ["part"])


def test_started_part_is_found_again_and_stopped(made: Layout) -> None:
    processes.spawn(made, "part", ["sleep", "60"], os.environ)
    pid = processes.running_pid(made, "part")
    assert pid is not None
    assert os.getsid(pid) == pid
    processes.stop_parts(made, ["part"])
    assert processes.running_pid(made, "part") is None
    assert processes.start_ticks(pid) is None
    assert not processes.record_path(made, "part").exists()


def test_part_that_ignores_the_request_is_killed(made: Layout) -> None:
    processes.spawn(made, "part", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], os.environ)
    processes.wait_for(made, "part", lambda: "up" in made.log_of("part").read_text(), 20)
    processes.stop_parts(made, ["part"], grace_seconds=0.2)
    assert processes.running_pid(made, "part") is None


def test_reused_pid_is_not_ours(made: Layout) -> None:
    path = processes.record_path(made, "part")
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    processes.write_record(path, processes.Record(os.getpid(), ticks - 1, processes.boot_id()))
    assert processes.running_pid(made, "part") is None


def test_record_of_an_earlier_boot_is_not_ours(made: Layout) -> None:
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    processes.write_record(processes.record_path(made, "part"), processes.Record(os.getpid(), ticks, "earlier"))
    assert processes.running_pid(made, "part") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "nonsense": 2}'])
def test_damaged_record_counts_as_none(made: Layout, content: str) -> None:
    processes.record_path(made, "part").write_text(content)
    assert processes.running_pid(made, "part") is None


def test_zombie_does_not_count_as_running() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 20
    while processes.start_ticks(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.start_ticks(child.pid) is None
    child.wait()


def test_part_that_dies_is_reported_with_its_last_lines(made: Layout) -> None:
    processes.spawn(made, "part", ["sh", "-c", "echo first; echo 'cannot go on'; exit 3"], os.environ)
    with pytest.raises(DevkitError, match="part stopped by itself") as caught:
        processes.wait_for(made, "part", lambda: False, 10)
    assert "cannot go on" in str(caught.value)
    assert str(made.log_of("part")) in str(caught.value)


def test_part_that_never_answers_is_reported(made: Layout) -> None:
    processes.spawn(made, "part", ["sleep", "60"], os.environ)
    with pytest.raises(DevkitError, match="part did not answer within 0 s"):
        processes.wait_for(made, "part", lambda: False, 0.2)


def test_last_log_is_kept_beside_the_new_one(made: Layout) -> None:
    for word in ("one", "two"):
        # It lives on after its word: a part that has already ended counts as one that stopped by itself.
        processes.spawn(made, "part", ["sh", "-c", f"echo {word}; exec sleep 60"], os.environ)
        processes.wait_for(made, "part", lambda word=word: word in made.log_of("part").read_text(), 20)  # type: ignore[misc]
        processes.stop_parts(made, ["part"])
    assert made.log_of("part").with_suffix(".log.old").read_text() == "one\n"


def test_last_lines_of_a_missing_log_are_none(tmp_path: Path) -> None:
    assert processes.last_lines(tmp_path / "none", 5) == []


def wait_for_command_line(child: "subprocess.Popen[bytes]") -> None:
    """A new program's command line reads as empty until the kernel has set up its memory."""
    deadline = time.monotonic() + 20
    while not Path(f"/proc/{child.pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_part_without_a_record_is_found_by_its_command_line(made: Layout) -> None:
    program = made.cluster / "etcd"
    program.symlink_to("/bin/sleep")
    stray = subprocess.Popen(["etcd", "60"], executable=str(program), cwd=made.cluster)
    other = subprocess.Popen([str(program), "60"])
    try:
        for child in (stray, other):
            wait_for_command_line(child)
        found = processes.strays(made)
        assert other.pid in found
        assert stray.pid not in found  # named etcd, but nothing shows that it belongs to this cluster
    finally:
        for child in (stray, other):
            child.send_signal(signal.SIGKILL)
            child.wait()


def test_second_start_at_the_same_time_is_refused(layout: Layout) -> None:
    with processes.exclusive(layout), pytest.raises(DevkitError, match="under way"), processes.exclusive(layout):
        pass


def test_memory_of_this_process_is_measured() -> None:
    sizes = processes.memory_kibibytes(os.getpid())
    assert 0 < sizes["pss"] <= sizes["rss"]


def test_memory_of_a_missing_process_is_zero() -> None:
    assert processes.memory_kibibytes(2**22 + 1) == {"rss": 0, "pss": 0}
