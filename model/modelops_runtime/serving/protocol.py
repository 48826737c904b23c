"""uvicorn's HTTP protocol, with bounds on a request's head and a fast path for what comes and goes in one piece.

uvicorn sets no bound on a head and keeps it in memory until it ends. It passes bodies and answers on in parts, each
checked again and sent by its own system call: half of the processor time of a small answer. Nearly every request here
is complete when the application starts, and every answer is.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from modelops_runtime.serving.http import ANSWER, WHOLE_BODY, Headers

MAX_HEAD_BYTES = 64 * 1024
"""Of request line and headers. A head that arrives complete in one read may be larger."""
HEAD_SECONDS = 10.0
REFUSAL = (
    b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    b'{"error":{"field":"headers","rule":"%s","message":"%s"}}'
)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large, 408 to one that comes too slowly."""

    def __init__(self, *args: Any, turned_away: Callable[[int, float], None], **named: Any) -> None:
        """`turned_away` gets the status and the seconds of a request whose head was refused."""
        super().__init__(*args, **named)
        self._turned_away = turned_away

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_head = True
        self._with_its_head = False
        self._head_bytes = 0
        self._since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._with_its_head = False
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, b"max_bytes", b"the headers are too large")
        elif self._deadline is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._turned_away(400, self.loop.time() - self._since)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._with_its_head = True
        self._stop_waiting()
        super().on_headers_complete()
        self.scope[ANSWER] = partial(self._answer, self.cycle)  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        if self._with_its_head:  # the application starts in the next round and need not wait for the body
            self.scope[WHOLE_BODY] = bytes(self.cycle.body)  # type: ignore[literal-required]
            self.cycle.body = bytearray()
        super().on_message_complete()

    def _answer(self, cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> bool:
        """Sends a complete answer. False when it must go through ASGI, since the client is slow to read."""
        if self.flow.write_paused and not cycle.disconnected:
            return False
        # An open connection keeps its last scope: drop the body, and the reference cycle.
        scope: MutableMapping[str, object] = cycle.scope  # type: ignore[assignment]
        scope.pop(WHOLE_BODY, None)
        del scope[ANSWER]
        if cycle.disconnected:
            return True
        if (b"connection", b"close") in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = [*headers, (b"connection", b"close")]
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if cycle.keep_alive:
            # In the next round of the event loop: more requests are read by one poll before answers are sent.
            self.loop.call_soon(self._send, b"".join(parts))
        else:
            self._send(b"".join(parts))
            self.transport.close()
        cycle.on_response()
        return True

    def _send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)

    def shutdown(self) -> None:
        self.loop.call_soon(super().shutdown)  # after the answers that wait to be sent

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_head and not self.transport.is_closing():
            self._refuse(408, b"max_seconds", b"the headers came too slowly")

    def _refuse(self, status: int, rule: bytes, message: bytes) -> None:
        body = REFUSAL.split(b"\r\n\r\n", 1)[1] % (rule, message)
        self.transport.write(STATUS_LINE[status] + REFUSAL % (len(body), rule, message))
        self.transport.close()
        if self._head_bytes:  # else nobody asked for anything: a browser's spare connection, say
            self._turned_away(status, self.loop.time() - self._since)
