"""HTTP on bare ASGI: what a request needs, bounded bodies, refusals."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Answer = Callable[[int, Headers, bytes], bool]

JSON = b"application/json"
_MEDIA_TYPES = ("", "application/json", "application/octet-stream", "application/x-www-form-urlencoded")
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
WHOLE_BODY = "modelops.whole_body"
"""In a scope, from our own HTTP protocol: the body, where all of it has arrived."""
ANSWER = "modelops.answer"
"""In a scope, from our own HTTP protocol: sends status, headers and body at once. False: send them by ASGI."""
SPAN = "modelops.span"
"""In a scope, with MODELOPS_TRACING: the request's span, unless it has none."""
DISCARD_BYTES = 16 * 2**20
"""How much of a refused body is read to its end: a client still sending would see a reset, not the refusal."""
RETRY_AFTER_SECONDS = "1"
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)")


class Refusal(Exception):
    """A request that is not answered, and why: `field` breaks `rule`."""

    def __init__(self, status: int, field: str, rule: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.rule = rule
        self.message = message
        self.headers = headers


class Disconnected(Exception):
    """The client went away before its request was complete."""


@dataclass(slots=True)
class Response:
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = field(default_factory=list)
    inputs: bytes | None = None
    """The body of a prediction, where it is to be logged."""


def json_response(status: int, content: object) -> Response:
    return Response(status, msgspec.json.encode(content))


def refused(refusal: Refusal, *, open_protocol: bool = False) -> Response:
    """The Open Inference Protocol has errors of one string."""
    error = {"field": refusal.field, "rule": refusal.rule, "message": refusal.message}
    response = json_response(refusal.status, {"error": refusal.message if open_protocol else error})
    response.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in refusal.headers.items()]
    return response


def header(scope: Scope, wanted: bytes) -> bytes | None:
    value: bytes
    for name, value in scope["headers"]:
        if name == wanted:
            return value
    return None


def identity(scope: Scope) -> tuple[str, str]:
    """The caller's X-Request-Id when it is short and printable, else a new one; and the trace that the caller is in, if
    it says so as W3C Trace Context does."""
    request_id = trace_id = ""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 128 and all(33 <= byte <= 126 for byte in value):
            request_id = value.decode("ascii")
        elif name == b"traceparent" and (trace := _TRACEPARENT.match(value)) and trace[1].strip(b"0"):
            trace_id = trace[1].decode()
    return request_id or new_request_id(), trace_id


def new_request_id() -> str:
    return os.urandom(16).hex()


def check_media_type(scope: Scope) -> None:
    """Raises Refusal (415) for a body that says that it is something else than plain UTF-8 JSON.

    Many clients say nothing of it: `curl -d` calls any body a form, others leave the header out or call it bytes.
    """
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value != JSON:
                _check_content_type(value.decode("latin-1"))
        elif name == b"content-encoding" and value.lower() != b"identity":
            encoding = value.decode("latin-1")[:100]
            raise Refusal(415, "Content-Encoding", "identity", f"bodies can't be compressed, this one is {encoding!r}")


def _check_content_type(content_type: str) -> None:
    kind, *parameters = [part.strip() for part in content_type.lower().split(";")]
    charsets = [
        value.strip('" ') for name, _, value in (part.partition("=") for part in parameters) if name == "charset"
    ]
    if kind not in _MEDIA_TYPES or not _UTF_8.issuperset(charsets):
        message = f"Content-Type must be application/json in UTF-8, or left out, not {content_type[:100]!r}"
        raise Refusal(415, "Content-Type", "application/json", message)


class Arriving:
    """Bytes of bodies that haven't arrived whole. Slow clients may hold so many, and no place among the predictions."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def hold(self, count: int) -> None:
        """Raises Refusal (503) if that is too many."""
        if self._held + count > self._most:
            message = "too many bodies are arriving slowly"
            raise Refusal(503, "server", "max_bytes", message, connection="close", retry_after=RETRY_AFTER_SECONDS)
        self._held += count

    def release(self, count: int) -> None:
        self._held -= count


async def read_body(scope: Scope, receive: Receive, *, limit: int, seconds: float, arriving: Arriving) -> bytes:
    """The whole body. Raises Refusal (413, 408, 503) for one that is larger than `limit` bytes, takes too long or is
    slow while many others are."""
    body: bytes | None = scope.get(WHOLE_BODY)
    if body is not None:
        if len(body) > limit:
            raise _too_large(limit)
        return body
    declared = header(scope, b"content-length")
    if declared is not None and int(declared) > limit:
        await _discard(receive, seconds)
        raise _too_large(limit)
    return await _read_parts(receive, limit, seconds, arriving)


async def _read_parts(receive: Receive, limit: int, seconds: float, arriving: Arriving) -> bytes:
    parts: list[bytes] = []
    size = held = 0
    try:
        async with asyncio.timeout(seconds):
            while size <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if not message.get("more_body"):
                    break
                arriving.hold(len(parts[-1]))
                held += len(parts[-1])
    except TimeoutError:
        raise _too_slow(seconds) from None
    finally:
        arriving.release(held)
    if size > limit:
        await _discard(receive, seconds)
        raise _too_large(limit)
    return b"".join(parts)


async def _discard(receive: Receive, seconds: float) -> None:
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while size < DISCARD_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body", "max_bytes", f"the body must have at most {limit} bytes", connection="close")


def _too_slow(seconds: float) -> Refusal:
    return Refusal(408, "body", "max_seconds", f"the body must come within {seconds:g} s", connection="close")
