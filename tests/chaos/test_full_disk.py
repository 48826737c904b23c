"""A disk that fills up under a training's checkpoints: a small one in memory, mounted for the test alone."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelops_runtime.contract import ContractError, Exit
from sample import fit
from sample.batches import Batch
from tests.unit.model.test_fit import PARAMETERS, STEPS, Line, run

pytestmark = [pytest.mark.chaos, pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk, which root may")]
DISK_BYTES = 64 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of checkpoints of the training in `tmp_path`, on a disk of its own."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained here is no model of a framework."""
    monkeypatch.setattr(fit, "write_model", lambda *_args: None)


class Filling(Line):
    """Somebody else fills the disk at a step."""

    def __init__(self, disk: Path, at: int) -> None:
        super().__init__()
        self._filler, self._at = disk / "filler", at

    def step(self, batch: Batch) -> float:
        if self.steps == self._at:
            try:
                with self._filler.open("wb", buffering=0) as filler:
                    while filler.write(b"x" * 512):
                        pass
            except OSError:
                pass
        return super().step(batch)


@pytest.mark.parametrize("at", [7, 20, 41])
def test_a_full_disk_costs_at_most_one_interval_once_there_is_room(
    disk: Path, tmp_path: Path, at: int, figure: Callable[[str], None]
) -> None:
    every = 5
    whole, metrics = run(tmp_path / "whole")
    with pytest.raises(ContractError, match=r"last\.ckpt: No space left on device") as caught:
        run(tmp_path, line=Filling(disk, at), checkpoint_steps=every, checkpoint_seconds=0)
    assert caught.value.code == Exit.FAILURE, "a retry may find room"
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "last.ckpt"]
    # Still full: the same reason again, and still nothing is lost.
    with pytest.raises(ContractError, match="No space left on device"):
        run(tmp_path, checkpoint_steps=every, checkpoint_seconds=0)

    (disk / "filler").unlink()
    resumed, again = run(tmp_path, checkpoint_steps=every, checkpoint_seconds=0)
    done_twice = resumed.steps - (PARAMETERS.epochs * STEPS - at)
    figure(f"disk full at step {at}: {done_twice} of {PARAMETERS.epochs * STEPS} steps done twice")
    assert again == metrics and done_twice <= every
    np.testing.assert_array_equal(resumed.weights, whole.weights)


def test_a_disk_with_room_sees_none_of_that(disk: Path, tmp_path: Path) -> None:
    """The control."""
    run(tmp_path, checkpoint_steps=5, checkpoint_seconds=0)
    assert [path.name for path in disk.iterdir()] == ["last.ckpt"]
