"""Trying again what may pass: a server that restarts, a connection that breaks."""

import time
from collections.abc import Callable
from typing import TypeVar

from modelops_runtime.contract import ConfigurationError, ContractError

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5

T = TypeVar("T")


class NotReachable(Exception):
    """No usable answer; trying again may help."""

    def __init__(self, reason: str, *, progress: bool = False) -> None:
        """`progress` says that a part arrived, and that the next attempt continues behind it."""
        super().__init__(reason)
        self.progress = progress


class Refused(Exception):
    """The server refused; a retry won't help."""


class Unreachable(ContractError):
    """The server did not answer for as long as it was waited for."""


def retried(attempt: Callable[[], T], server: str, what: str, wait_seconds: float) -> T:
    """What `attempt` returns. Raises Unreachable when it has only failed for `wait_seconds`, ConfigurationError when it
    is refused; `server` and `what` name who was asked and for what."""
    pause, deadline = FIRST_PAUSE_SECONDS, None
    while True:
        try:
            return attempt()
        except NotReachable as error:
            now = time.monotonic()
            if deadline is None or error.progress:
                pause, deadline = FIRST_PAUSE_SECONDS, now + wait_seconds
            if now + pause > deadline:
                raise Unreachable(f"{server} is not reachable for {what}: {error}") from None
            print(f"{server} is not reachable for {what}, trying again: {error}", flush=True)
        except Refused as error:
            raise ConfigurationError(f"{server} refused {what}: {error}") from None
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
