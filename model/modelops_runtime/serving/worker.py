"""One thread that makes one call at a time, knows for how long, and never keeps the process from ending."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from modelops_runtime.contract import ServeContract
from modelops_runtime.serving.http import RETRY_AFTER_SECONDS, Refusal

P = ParamSpec("P")
T = TypeVar("T")
STUCK_SECONDS = 60.0
"""The shortest time after which a prediction counts as stuck; it is twice MODELOPS_PREDICT_SECONDS, if that is longer.
Nobody waits for its answer by then."""


def stuck_seconds(settings: ServeContract) -> float:
    return max(STUCK_SECONDS, 2 * settings.predict_seconds)


class Worker(Executor):
    """A ThreadPoolExecutor of one thread would be waited for when the process ends: for ever, if a call hangs."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._since: float | None = None
        self._submitted = self._ended = 0
        Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        self._submitted += 1
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    @property
    def idle(self) -> bool:
        """Whether no call runs or waits, asked by the thread that submits them. One that was given up still runs."""
        return self._submitted == self._ended

    def busy_seconds(self) -> float:
        """How long the present call has been running; 0 when none is."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def check_alive(self, most_seconds: float) -> None:
        """Raises Refusal (503) when the present call has been running for longer."""
        seconds = self.busy_seconds()
        if seconds > most_seconds:
            message = f"a prediction has been running for {seconds:.0f} s"
            raise Refusal(503, "server", "stuck", message, retry_after=RETRY_AFTER_SECONDS)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the thread after the calls that wait. Returns at once."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.set_running_or_notify_cancel():
                self._ended += 1
                continue
            self._since = time.monotonic()
            try:
                result = function()
            except BaseException as error:
                self._end_call()
                future.set_exception(error)
            else:
                self._end_call()
                future.set_result(result)
            # The last call's rows aren't kept while there is no other.
            del call, future, function

    def _end_call(self) -> None:
        self._since = None
        self._ended += 1
