"""What a run is doing and how far it is, for people: a line after a second, and then one every few seconds."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

FIRST_SECONDS = 1.0
EVERY_SECONDS = 5.0
T = TypeVar("T")
Far = Callable[[], tuple[float | None, str]]
"""The part that is done, from 0 to 1 (None: nobody knows), and words about it."""


class Progress:
    """What is being done, and how far it is. Nothing is printed but by `shown`."""

    def __init__(self) -> None:
        self.doing("starting")

    def __reduce__(self) -> tuple[Any, ...]:
        return Progress, ()  # what travels to another process has nothing to show there

    def doing(self, what: str, far: Far | None = None) -> None:
        """`far` is asked whenever a line is printed, from another thread."""
        self._what, self._far, self._started = what, far, time.monotonic()

    def of_these(self, far: Far | None) -> None:
        """Another part of what is being done."""
        self._far, self._started = far, time.monotonic()

    def line(self) -> str:
        so_far = time.monotonic() - self._started
        done, words = self._far() if self._far else (None, "")
        left = f"{so_far / done * (1 - done):.0f} s left" if done else f"{so_far:.0f} s so far"
        return ", ".join(filter(None, [self._what, words, left]))


@contextmanager
def shown(say: Callable[[str], None]) -> Iterator[Progress]:
    """Prints by `say` at a steady pace, whatever takes long."""
    progress, end = Progress(), threading.Event()

    def show() -> None:
        seconds = FIRST_SECONDS
        while not end.wait(seconds):
            say(progress.line())
            seconds = EVERY_SECONDS

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        end.set()
        thread.join()


def those_done(those: Sequence[T], is_done: Callable[[T], bool], what: str) -> Far:
    """How many of several are done."""

    def far() -> tuple[float | None, str]:
        count = sum(map(is_done, those))
        return count / len(those) if those else None, f"{count} of {len(those)} {what}"

    return far
