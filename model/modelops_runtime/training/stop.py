"""SIGTERM during training: a request to stop at the next good moment."""

import signal
import time
from types import FrameType


class Stop:
    """Set by SIGTERM. Training ends the epoch it is in, unless that takes longer than `patience_seconds`."""

    def __init__(self, patience_seconds: float = 10) -> None:
        self._patience_seconds = patience_seconds
        self._requested_at: float | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self.request)

    def request(self, _signal: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        self._requested_at = time.monotonic()

    @property
    def requested(self) -> bool:
        return self._requested_at is not None

    @property
    def overdue(self) -> bool:
        return self._requested_at is not None and time.monotonic() - self._requested_at > self._patience_seconds
