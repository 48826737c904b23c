"""What goes on beside a long download: lines that say how far it is, for one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_SECONDS = 15.0


@contextmanager
def repeated(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Does something every so many seconds, beside what the `with` statement does."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def reported(folder: Path, total: int) -> Iterator[None]:
    """Prints every few seconds how many of the `total` bytes are in the folder, whichever way they come."""

    def report() -> None:
        here = size(folder)
        print(f"{here / 2**20:,.0f} of {total / 2**20:,.0f} MiB are here ({here * 100 // max(total, 1)} %)", flush=True)

    with repeated(report, EVERY_SECONDS):
        yield


def size(folder: Path) -> int:
    """Bytes of the files in a folder, while some come and go."""
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return sizes
