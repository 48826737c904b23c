"""uvicorn's HTTP protocol, with bounds on a request's head and an answer sent in one piece.

uvicorn bounds no head and keeps it in memory until it ends. It sends head and body of an answer by two system calls: a
fifth of the processor time of a small answer.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model.serve.http import WHOLE_BODY

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers. One piece that arrives at once may be larger: it ends here or goes no further."""
HEAD_SECONDS = 10.0
REFUSAL = (
    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    b'{"error":{"field":"headers","rule":"%s","message":"%s"}}'
)


class JoinedWrites:
    """A transport that sends what is written in one round of the event loop together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, 408 to one that comes too slowly."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._in_head = True
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", b"max_bytes", b"the headers are too large")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        # It came with its head: the application, which starts in the next round, need not watch the time.
        self.scope[WHOLE_BODY] = True  # type: ignore[literal-required]
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and not self.transport.is_closing():
            self._refuse(b"408 Request Timeout", b"max_seconds", b"the headers came too slowly")

    def _refuse(self, status: bytes, rule: bytes, message: bytes) -> None:
        body = REFUSAL.split(b"\r\n\r\n", 1)[1] % (rule, message)
        self.transport.write(REFUSAL % (status, len(body), rule, message))
        self.transport.close()
