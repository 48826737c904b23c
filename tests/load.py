"""Load on a model service and its results: no request is retried, and every failure is recorded."""

import http.client
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

INPUTS = (0.5, 0.5, 0.5, 0.25, 0.75)
"""Inputs whose mix a drift analysis sees."""
TIMEOUT_SECONDS = 30


class Failure(NamedTuple):
    """A request without a prediction."""

    status: int | None
    """None where no whole answer came."""
    what: str


@dataclass
class LoadResult:
    """Predictions and failures of all clients."""

    answers: Counter[tuple[float, float]] = field(default_factory=Counter)
    """Predictions, by input and output."""
    failed: list[Failure] = field(default_factory=list)
    closed: int = 0
    """After how many predictions the server closed the connection."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def answered(self) -> int:
        return self.answers.total()

    @property
    def total(self) -> int:
        return self.answered + len(self.failed)

    @property
    def outputs(self) -> set[float]:
        return {output for _input, output in self.answers}

    def share(self, *wanted: tuple[float, float]) -> float:
        """Percent of the predictions that are among `wanted`."""
        return 100 * sum(self.answers[answer] for answer in wanted) / max(1, self.answered)

    def note(self, answer: tuple[float, float], closed: bool) -> None:
        with self._lock:
            self.answers[answer] += 1
            self.closed += closed


class Client:
    """Sends requests to one service, over a keep-alive connection or a new one each time."""

    def __init__(
        self,
        url: str,
        result: LoadResult,
        *,
        keeps: bool = False,
        host: str | None = None,
        others: Sequence[float] = (),
    ) -> None:
        """`others` are a row's values beside the one that a request is sent for."""
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        self._path, self._result, self._keeps, self._others = parts.path, result, keeps, others
        self._headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}

    def send(self, value: float) -> None:
        """One request."""
        kind, status = "kept" if self._keeps else "new", None
        try:
            body = json.dumps({"inputs": [[value, *self._others]]})
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
            status = answer.status
            if status != 200:
                raise ValueError(f"{status} {content[:200]!r}")
            self._result.note((value, json.loads(content)["outputs"][0]), answer.will_close)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self._result.failed.append(Failure(status, f"{kind} connection: {error!r}"))
            if status is None:
                self._connection.close()
        if not self._keeps:
            self._connection.close()


@contextmanager
def load(
    url: str,
    *,
    callers: int = 4,
    kept: int = 0,
    pause_seconds: float = 0.02,
    inputs: Sequence[float] = (0.5,),
    host: str | None = None,
    others: Sequence[float] = (),
) -> Iterator[LoadResult]:
    """Clients that send requests while the block runs; `kept` of them keep their connections alive."""
    result, stop = LoadResult(), threading.Event()

    def send_until_stopped(number: int) -> None:
        client, values = Client(url, result, keeps=number < kept, host=host, others=others), itertools.cycle(inputs)
        while not stop.wait(pause_seconds):
            client.send(next(values))

    with ThreadPoolExecutor(callers) as pool:
        running = [pool.submit(send_until_stopped, number) for number in range(callers)]
        try:
            yield result
        finally:
            stop.set()
    for each in running:
        each.result()


def send_requests(
    url: str, requests: int, *, callers: int = 8, inputs: Sequence[float] = INPUTS, host: str | None = None
) -> LoadResult:
    """Sends that many requests, each over a connection of its own."""
    result = LoadResult()
    with ThreadPoolExecutor(callers) as pool:
        values = itertools.islice(itertools.cycle(inputs), requests)
        list(pool.map(lambda value: Client(url, result, host=host).send(value), values))
    return result
