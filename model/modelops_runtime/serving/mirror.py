"""A copy of each request for a shadow: sent after the fact, over a few connections, and its answers are thrown away.

Nothing here can slow or fail the real answer: what can't be sent at once waits in a bounded queue, and what doesn't fit
there is dropped and counted.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

CONNECTIONS = 4
QUEUE_REQUESTS = 64
QUEUE_BYTES = 4 * 2**20
SECONDS = 5.0
"""How long the shadow has for one answer."""
_HEAD_BYTES = 64 * 2**10
_VERSION = re.compile(r"/versions/[^/]+")
_PASSED_ON = frozenset({b"content-type", b"inference-header-content-length", b"traceparent", b"tracestate"})
"""The headers without which a body is not understood, and those that say which trace it is in."""
_RESULTS = ("answered", "refused", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class Copy:
    """What is sent on."""

    path: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Mirror(Collector):
    """Sends `percent` of what it is offered to the server at `url`."""

    def __init__(
        self,
        url: str,
        percent: float = 100,
        *,
        seconds: float | None = None,
        connections: int = CONNECTIONS,
        passed_on: frozenset[bytes] = frozenset(),
    ) -> None:
        """`passed_on`: further headers that go with a copy. The others say how long an answer may take, by default
        SECONDS, and how many are waited for at a time."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._authority = parts.netloc
        self._percent, self._connections = percent, connections
        self._seconds = seconds or SECONDS
        self._passed_on = _PASSED_ON | passed_on
        self._owed = 0.0
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue(QUEUE_REQUESTS)
        self._bytes = 0
        self._senders: list[asyncio.Task[None]] = []
        self.results = dict.fromkeys(_RESULTS, 0)

    def start(self) -> None:
        """Begin to send. Call it in the event loop."""
        self._senders = [asyncio.create_task(self._send_on()) for _ in range(self._connections)]

    async def stop(self) -> None:
        """Drop what still waits."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def offer(self, path: str, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Take a copy, if it is one of those to be sent and there is room. Returns at once, never raises."""
        self._owed += self._percent
        if self._owed < 100:
            return
        self._owed -= 100
        if self._bytes + len(body) > QUEUE_BYTES or self._waiting.full():
            self.results["dropped"] += 1
            return
        self._bytes += len(body)
        # The shadow serves another version: the one that it has is meant.
        passed_on = tuple((name, value) for name, value in headers if name in self._passed_on)
        self._waiting.put_nowait(Copy(_VERSION.sub("", path), body, passed_on))

    def collect(self) -> Iterable[Metric]:
        """Prometheus' view."""
        family = CounterMetricFamily("modelops_mirrored", "Requests copied to the shadow.", labels=["result"])
        for result, count in self.results.items():
            family.add_metric([result], count)
        yield family

    async def _send_on(self) -> None:
        connection: _Connection | None = None
        try:
            while True:
                copy = await self._waiting.get()
                self._bytes -= len(copy.body)
                try:
                    async with asyncio.timeout(self._seconds):
                        fresh = connection is None
                        connection = connection or await _Connection.open(self._host, self._port)
                        try:
                            status, stays = await connection.post(copy, self._authority)
                        except ConnectionError:
                            if fresh:
                                raise
                            # It was closed while it was idle: servers do that.
                            connection.close()
                            connection = await _Connection.open(self._host, self._port)
                            status, stays = await connection.post(copy, self._authority)
                except Exception:  # whatever the shadow does, the next copy is sent
                    status, stays = 0, False
                self.results[_result(status)] += 1
                if connection is not None and not stays:
                    connection.close()
                    connection = None
        finally:
            if connection is not None:
                connection.close()


def _result(status: int) -> str:
    return "failed" if not status else "answered" if status < 400 else "refused"


class _Connection:
    """HTTP/1.1, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> "_Connection":
        return cls(*await asyncio.open_connection(host, port, limit=_HEAD_BYTES))

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone already
            self._writer.close()

    async def post(self, copy: Copy, authority: str) -> tuple[int, bool]:
        """The answer's status, and whether the connection can be used again.

        Raises ConnectionError when it ended before there was an answer.
        """
        head = f"POST {copy.path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {len(copy.body)}\r\n"
        passed_on = b"".join(b"%s: %s\r\n" % header for header in copy.headers)
        self._writer.write(head.encode("latin-1") + passed_on + b"\r\n" + copy.body)
        await self._writer.drain()
        try:
            answer = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            raise ConnectionResetError from None
        lines = answer.decode("latin-1").lower().split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
        length = headers.get("content-length")
        if length is None:
            return status, False  # an answer without a length ends with its connection
        left = int(length)
        while left > 0:
            chunk = await self._reader.read(min(left, _HEAD_BYTES))
            if not chunk:
                raise EOFError
            left -= len(chunk)
        return status, headers.get("connection", "").strip() != "close"
