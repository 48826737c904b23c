"""The cache that pods share: nobody loses the model that it serves."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelops_runtime.contract import ContractError, FetchContract
from modelops_runtime.registry.cache import FRESH_SECONDS, LEFT_SECONDS, Cache, Full
from modelops_runtime.registry.fetch import fetch
from tests.runtime import environment, run_module
from tests.unit.model.test_fetch import FakeRegistry, serving_registry

SIZE = 1000
"""Bytes of each model here."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def capacity(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many models of SIZE fit into the cache."""

    def fits(count: int) -> None:
        def usage(_: object) -> Any:
            return SimpleNamespace(free=(count - len(list(folder.glob("model-*")))) * SIZE)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        monkeypatch.setattr("modelops_runtime.registry.cache.ROOM", 0)

    return fits


def use(folder: Path, pod: str, key: str) -> Path:
    """A pod takes a model into the cache, as fetching does, and serves it."""
    cache = Cache(folder, pod)
    cache.claim(key)
    if cache.find(key) is None:
        with cache.incoming(key) as scratch:
            cache.make_room(SIZE)
            (scratch / "weights").write_text(key)
            cache.keep(scratch, key)
    entry = cache.find(key)
    assert entry is not None
    return entry / "weights"


def age(folder: Path, seconds: float) -> None:
    """Lets time go by: everything in the cache is older now."""
    for path in folder.rglob("*"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_a_pod_does_not_take_the_model_that_another_serves(folder: Path, capacity: Any) -> None:
    capacity(2)
    served = use(folder, "first-pod", "a")
    age(folder, 10)
    use(folder, "second-pod", "b")
    Cache(folder, "second-pod").leave()
    use(folder, "third-pod", "c")  # `a` was used longest ago, and is used still
    assert served.read_text() == "a"
    assert Cache(folder).find("b") is None and Cache(folder).find("c")


def test_a_cache_full_of_models_in_use_takes_no_other(folder: Path, capacity: Any) -> None:
    capacity(1)
    served = use(folder, "first-pod", "a")
    with pytest.raises(Full, match="no room for 1000 bytes beside the models that pods use"):
        use(folder, "second-pod", "b")
    assert served.read_text() == "a"


def test_a_model_is_given_up_when_the_last_of_its_pods_has_gone(folder: Path, capacity: Any) -> None:
    capacity(1)
    for pod in ("first-pod", "second-pod"):
        use(folder, pod, "a")
    for pod in ("first-pod", "second-pod"):
        with pytest.raises(Full):
            use(folder, "new-pod", "b")
        Cache(folder, "new-pod").leave()
        Cache(folder, pod).leave()
    assert use(folder, "new-pod", "b").read_text() == "b"


def test_a_pod_that_died_with_its_node_keeps_nothing_for_long(folder: Path, capacity: Any) -> None:
    capacity(1)
    use(folder, "dead-pod", "a")
    age(folder, FRESH_SECONDS - 5)
    with pytest.raises(Full):
        use(folder, "new-pod", "b")
    age(folder, 10)
    assert use(folder, "new-pod", "b").read_text() == "b"


def test_a_model_lasts_as_long_as_its_note_is_renewed(folder: Path, capacity: Any) -> None:
    capacity(1)
    served = use(folder, "pod", "a")
    for _ in range(3):
        age(folder, FRESH_SECONDS - 5)
        Cache(folder, "pod").renew()
    with pytest.raises(Full):
        use(folder, "new-pod", "b")
    assert served.read_text() == "a"


def test_a_pod_that_takes_a_model_while_it_is_being_removed_keeps_it(
    folder: Path, capacity: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    capacity(1)
    use(folder, "old-pod", "a")
    Cache(folder, "old-pod").leave()
    real, late = Path.rename, Cache(folder, "late-pod")

    def rename(self: Path, target: Path) -> Path:
        if self.name.startswith("model-") and target.parent.name.startswith(".removed-"):
            late.claim("a")  # just before it goes out of sight
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(Full):
        Cache(folder, "new-pod").make_room(SIZE)
    entry = late.find("a")
    assert entry and (entry / "weights").read_text() == "a"


def test_a_damaged_copy_is_replaced_under_the_pods_that_use_it(folder: Path) -> None:
    served = use(folder, "first-pod", "a")
    served.write_text("damaged")
    cache = Cache(folder, "second-pod")
    with cache.incoming("a") as scratch:
        (scratch / "weights").write_text("a")
        cache.keep(scratch, "a", damaged=True)
    assert served.read_text() == "a"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".removed")] == []


def test_what_a_killed_pod_left_behind_gives_way_and_a_running_download_does_not(folder: Path, capacity: Any) -> None:
    capacity(2)
    for name in (".incoming-dead", ".incoming-alive"):
        (folder / name / "deep").mkdir(parents=True)
        (folder / name / "deep" / "part").write_text("half")
    age(folder, LEFT_SECONDS + 10)
    (folder / ".incoming-alive" / "deep" / "part").write_text("more")
    Cache(folder).make_room(SIZE)
    assert [path.name for path in folder.glob(".incoming-*")] == [".incoming-alive"]


@pytest.fixture
def registry(model_dir: Path) -> Iterator[FakeRegistry]:
    with serving_registry(model_dir) as fake:
        yield fake


def contract(registry: FakeRegistry, target: Path, cache: Path) -> FetchContract:
    return FetchContract("models:/line@run-1", registry.url, target, cache, wait_seconds=0, max_bytes=2**20)


def test_a_full_cache_does_not_keep_a_pod_from_starting(
    registry: FakeRegistry, folder: Path, tmp_path: Path, capacity: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    capacity(1)
    served = use(folder, "first-pod", "a")
    assert fetch(contract(registry, tmp_path / "pod", folder)).name == "line"
    assert "beside the models that pods use: fetching into the pod's own folder" in capsys.readouterr().out
    assert {path.name: path.is_symlink() for path in (tmp_path / "pod").iterdir()} == {
        "model.json": False,
        "model.tflite": False,
    }
    assert served.read_text() == "a"


def test_a_cache_that_fills_up_during_a_download_does_not_either(
    registry: FakeRegistry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "model.tflite" and ".incoming-" in str(self) and "w" in str(args):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    assert fetch(contract(registry, tmp_path / "pod", folder)).name == "line"
    assert not (tmp_path / "pod" / "model.tflite").is_symlink()
    assert list(folder.iterdir()) == []


def test_a_long_download_keeps_its_note_fresh(
    registry: FakeRegistry, folder: Path, tmp_path: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelops_runtime.registry.fetch.RENEW_SECONDS", 0.01)
    fresh: list[bool] = []

    def slow() -> tuple[int, bytes]:
        [note] = folder.glob(".uses/*/*")
        os.utime(note, (0, 0))
        deadline = time.monotonic() + 10
        while note.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        fresh.append(note.stat().st_mtime > 0)
        return 200, (model_dir / "model.tflite").read_bytes()

    registry.replies["1/abc/artifacts/model/model.tflite"] = slow
    fetch(contract(registry, tmp_path / "pod", folder))
    assert fresh == [True]


def test_fetching_notes_the_use_and_a_fetch_that_fails_does_not(
    registry: FakeRegistry, folder: Path, tmp_path: Path
) -> None:
    registry.replies["1/abc/artifacts/model/model.tflite"] = lambda: (200, b"short")
    with pytest.raises(ContractError):
        fetch(contract(registry, tmp_path / "pod", folder))
    assert not list(folder.glob(".uses/*")) and not list(folder.glob("model-*"))
    registry.replies.clear()
    fetch(contract(registry, tmp_path / "pod", folder))
    [entry] = folder.glob("model-*")
    assert len(list((folder / ".uses" / entry.name).iterdir())) == 1


def test_the_sidecar_renews_its_pod_s_notes_and_takes_them_away_when_it_is_stopped(folder: Path) -> None:
    host = os.uname().nodename
    use(folder, host, "a")
    use(folder, "another-pod", "b")
    age(folder, FRESH_SECONDS + 100)
    command = [sys.executable, "-m", "modelops_runtime", "hold"]
    process = subprocess.Popen(command, env=environment(MODELOPS_MODEL_CACHE_DIR=folder))
    try:
        [own] = folder.glob(f".uses/*/{host}")
        deadline = time.monotonic() + 30
        while time.time() - own.stat().st_mtime > FRESH_SECONDS and time.monotonic() < deadline:
            time.sleep(0.05)
        assert time.time() - own.stat().st_mtime < FRESH_SECONDS
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.wait()
    assert not own.exists()
    [other] = folder.glob(".uses/*/another-pod")
    assert time.time() - other.stat().st_mtime > FRESH_SECONDS


def test_the_sidecar_says_what_it_lacks() -> None:
    done = run_module("modelops_runtime hold")
    assert (done.returncode, done.stderr) == (2, "error: MODELOPS_MODEL_CACHE_DIR is not set\n")


def test_pods_that_come_and_go_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    def comes_and_goes(pod: int) -> None:
        cache = Cache(tmp_path, pod=f"pod-{pod}")
        for _time in range(200):
            cache.claim("models:/line/1")
            cache.renew()
            cache.leave()

    with ThreadPoolExecutor(8) as pods:
        list(pods.map(comes_and_goes, range(8)))
    assert not (tmp_path / ".uses").exists() or list((tmp_path / ".uses").rglob("pod-*")) == []
