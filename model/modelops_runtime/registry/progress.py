"""Lines that say how far a long download is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_SECONDS = 15.0


@contextmanager
def reported(folder: Path, total: int) -> Iterator[None]:
    """Prints every few seconds how many of the `total` bytes are in the folder, whichever way they come."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(EVERY_SECONDS):
            here = size(folder)
            print(
                f"{here / 2**20:,.0f} of {total / 2**20:,.0f} MiB are here ({here * 100 // max(total, 1)} %)",
                flush=True,
            )

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def size(folder: Path) -> int:
    """Bytes of the files in a folder, while some come and go."""
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return sizes
