"""A stream of requests, each over a connection of its own, and what came back."""

import http.client
import itertools
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

INPUTS = (0.5, 0.5, 0.5, 0.25, 0.75)
"""What is asked, in turn."""


@dataclass
class Seen:
    """Answers by (input, output), and everything else."""

    answers: Counter[tuple[float, float]] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.answers.total() + self.failed.total()

    def share(self, *wanted: tuple[float, float]) -> float:
        """Percent of the answers that are among `wanted`."""
        return 100 * sum(self.answers[answer] for answer in wanted) / max(1, self.answers.total())


def ask(url: str, value: float, host: str | None = None, timeout: float = 20) -> tuple[int, float | None]:
    """Status and prediction for one input, over a new connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
        connection.request("POST", parts.path, json.dumps({"inputs": [[value]]}), headers)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content)["outputs"][0] if answer.status == 200 else None
    finally:
        connection.close()


class Load:
    """Asks in the background until it is left."""

    def __init__(self, url: str, *, threads: int = 2, pause: float = 0.01, host: str | None = None) -> None:
        self.seen = Seen()
        self._url, self._threads, self._pause, self._host = url, threads, pause, host
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._inputs = itertools.cycle(INPUTS)
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> "Load":
        for _ in range(self._threads):
            self._pool.submit(self._go_on)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def _go_on(self) -> None:
        while not self._stop.wait(self._pause):
            self.once()

    def once(self) -> None:
        """One request."""
        with self._lock:
            value = next(self._inputs)
        try:
            status, output = ask(self._url, value, self._host)
            problem = None if status == 200 else str(status)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            output, problem = None, repr(error)
        with self._lock:
            if output is not None:
                self.seen.answers[value, output] += 1
            else:
                self.seen.failed[str(problem)] += 1

    def take(self, requests: int) -> Seen:
        """That many requests at once, apart from those in the background."""
        list(self._pool.map(lambda _: self.once(), range(requests)))
        return self.seen


def take(url: str, requests: int, *, threads: int = 8, host: str | None = None) -> Seen:
    """What that many requests got."""
    load = Load(url, threads=threads, host=host)
    try:
        return load.take(requests)
    finally:
        load._pool.shutdown()
