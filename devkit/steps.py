"""Progress output: a numbered list of steps, each with its elapsed time and whether it was cached."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO, TypeVar

T = TypeVar("T")
Report = Callable[[str], None]
HEARTBEAT_SECONDS = 30.0
DETAIL_SECONDS = 10.0


def elapsed(seconds: float) -> str:
    """Seconds as a short human text: 4.2 s, 3 min 07 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


@dataclass
class _Last:
    """A step's last detail."""

    shown: float
    text: str = ""
    cached: bool = False


class Steps:
    """Runs named steps, from several threads if need be, and prints their progress.

    A step is a function that takes `report`, to be called with one line of detail on any progress. A detail
    equal to ``cached`` marks the step as such. While a step is silent, its last detail is repeated from time to
    time, so that a long step never looks stuck.
    """

    def __init__(self, total: int, out: TextIO | None = None) -> None:
        self._total = total
        self._out = out or sys.stdout
        self._started = time.monotonic()
        self._count = 0
        self._last_output = self._started
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Prints a line as it is."""
        with self._lock:
            self._last_output = time.monotonic()
            print(text, file=self._out, flush=True)

    def run(self, title: str, action: Callable[[Report], T]) -> T:
        """Runs one step in this thread and returns what it returns."""
        with self._lock:
            self._count += 1
            label = f"[{self._count:>2}/{self._total}]"
        started = time.monotonic()
        self.say(f"{label} {title} …")
        last = _Last(shown=started)

        def report(text: str) -> None:
            if text == "cached":
                last.cached = True
                return
            last.text = text
            now = time.monotonic()
            if now - last.shown >= DETAIL_SECONDS:
                last.shown = now
                self.say(f"{label}   {text} ({elapsed(now - started)})")

        stop = threading.Event()
        beat = threading.Thread(target=self._heartbeat, args=(stop, label, title, started, last), daemon=True)
        beat.start()
        try:
            result = action(report)
        except BaseException:
            self.say(f"{label} {title}: failed after {elapsed(time.monotonic() - started)}")
            raise
        finally:
            stop.set()
        mark = "cached" if last.cached else "done"
        self.say(f"{label} {title}: {mark}, {elapsed(time.monotonic() - started)}")
        return result

    def total_elapsed(self) -> str:
        """Time since the first step, as text."""
        return elapsed(time.monotonic() - self._started)

    def _heartbeat(self, stop: threading.Event, label: str, title: str, started: float, last: "_Last") -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            if time.monotonic() - self._last_output < HEARTBEAT_SECONDS:
                continue
            detail = f": {last.text}" if last.text else ""
            self.say(f"{label}   still working on {title}{detail} ({elapsed(time.monotonic() - started)})")
