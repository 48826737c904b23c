"""Progress of a running training, for people and metrics exporters."""

import time
from pathlib import Path

from modelops_runtime.artifacts.results import write_json

LINES = 10
SILENCE_SECONDS = 10.0
FILE = "progress.json"
FILE_EVERY_SECONDS = 1.0


class Reporter:
    """Prints about LINES lines a training, one at least every SILENCE_SECONDS, and keeps `progress.json` up to date."""

    def __init__(self, epochs: int, done: int, output: Path, unit: str = "epoch") -> None:
        """`unit` is what `epochs` counts: steps, where an epoch is too long to wait for."""
        self._unit = unit
        self._epochs = epochs
        self._done_before = done
        self._every = max(1, epochs // LINES)
        self._output = output
        self._started = self._printed = time.monotonic()
        self._written = 0.0

    def report(self, row: dict[str, float]) -> None:
        epoch, now = int(row["epoch"]), time.monotonic()
        left = (now - self._started) / max(1, epoch - self._done_before) * (self._epochs - epoch)
        if epoch == self._epochs or now - self._written >= FILE_EVERY_SECONDS:
            metrics = {name: value for name, value in row.items() if name != "epoch"}
            content = {"epoch": epoch, "epochs": self._epochs, "seconds_left": round(left, 1), "metrics": metrics}
            write_json(self._output / FILE, content if self._unit == "epoch" else {**content, "unit": self._unit})
            self._written = now
        if epoch % self._every and epoch != self._epochs and now - self._printed < SILENCE_SECONDS:
            return
        values = "  ".join(f"{name} {value:.5f}" for name, value in row.items() if name != "epoch")
        print(f"{self._unit} {epoch}/{self._epochs}  {values}  {left:.0f} s left", flush=True)
        self._printed = now
