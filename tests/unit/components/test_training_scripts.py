"""The shell scripts of the training pod, run by a real shell: the two meet at a pipe."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from modelops._assets import asset


class Pod:
    """Both containers of a training pod, on a folder in place of the shared volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, name: str, *command: str) -> "subprocess.Popen[str]":
        tmp = self.folder / name
        tmp.mkdir()
        script = asset(f"training/{name}.sh").replace("/tmp/", f"{tmp}/").replace("/modelops", str(self.folder))
        arguments = ["/bin/sh", "-c", script, name, *command]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    folder = tmp_path / "shared"
    folder.mkdir()
    return Pod(folder)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=10)
    return process.returncode, out.strip(), err.strip()


def test_a_training_that_ends_well_is_published(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sh", "-c", f"test -d {pod.folder}/output && echo trained")
    assert finish(train) == (0, "trained", "")
    assert finish(publish) == (0, "published", "")


def test_the_order_of_the_containers_does_not_matter(pod: Pod) -> None:
    train = pod.start("train", "true")
    time.sleep(0.2)
    publish = pod.start("publish", "echo", "published")
    assert finish(train)[0] == 0
    assert finish(publish)[:2] == (0, "published")


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_failed_training_is_not_published_and_keeps_its_exit_code(pod: Pod, code: int) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sh", "-c", f"exit {code}")
    assert finish(train)[0] == code
    assert finish(publish) == (code, "", f"the training ended with {code}: nothing is published")


def test_a_killed_training_is_not_published(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sleep", "30")
    time.sleep(0.3)
    train.kill()
    code, out, err = finish(publish)
    assert (code, out) == (1, "")
    assert "it was killed" in err


def test_sigterm_reaches_the_training_which_may_write_its_checkpoint(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start(
        "train", "sh", "-c", "trap 'sleep 0.3; echo checkpoint; exit 143' TERM; echo up; while :; do sleep 0.05; done"
    )
    assert train.stdout is not None
    assert train.stdout.readline() == "up\n"
    train.send_signal(signal.SIGTERM)
    assert finish(train)[:2] == (143, "checkpoint")
    assert finish(publish)[0] == 143


def test_a_waiting_publisher_stops_when_told_to(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sleep", "30")
    time.sleep(0.3)
    publish.send_signal(signal.SIGTERM)
    # Not `finish`: the reader of the pipe outlives its shell here, with the same stderr; in a pod it ends with it.
    assert publish.wait(timeout=10) == 143
    train.send_signal(signal.SIGTERM)
    train.wait(timeout=10)
