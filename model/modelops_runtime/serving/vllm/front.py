"""What the library puts in front of vLLM's API, in vLLM's own process: `vllm serve --middleware`.

API keys that can be rotated without a restart, a warm-up before the engine counts as ready, a drain that clients with
open connections notice, copies of the requests for a shadow, and a log of what was asked and answered, if that is
wanted. Settings are environment variables, since vLLM passes a middleware none.
"""

import hmac
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from modelops_runtime.contract import Environment
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.mirror import QUEUE_BYTES, Mirror
from modelops_runtime.serving.vllm.drain import DRAINING
from modelops_runtime.serving.vllm.transcript import answered, asked
from modelops_runtime.serving.vllm.warm_up import WarmUp

HEALTH = "/health"
OPEN = frozenset({HEALTH, "/ping", "/metrics"})
"""What Kubernetes and Prometheus ask without a key."""
READ_SECONDS = 1.0
"""How old what was read of the keys may be. The kubelet takes up to a minute to bring a changed Secret anyway."""
SHADOW_SECONDS = 300.0
SHADOW_CONNECTIONS = 16
"""A whole answer of a language model takes its time, and many are made at once."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Front:
    """The ASGI middleware."""

    def __init__(self, app: App) -> None:
        self._app = app
        DRAINING.unlink(missing_ok=True)  # A failed liveness probe ends the engine before this one in the same pod.
        folder = os.environ.get("MODELOPS_API_KEYS_DIR")
        self._keys = Keys(Path(folder)) if folder else None
        self._mirror = _mirror()
        self._mirrors = False
        self._warm_up = WarmUp(app)
        self._log = (
            Log(os.environ.get("MODELOPS_MODEL_VERSION", "")) if Environment().switch("MODELOPS_LOG_TEXTS") else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        if self._keys and _guarded(scope) and not self._keys.allow(_header(scope, b"authorization")):
            return await _refuse(scope, send)
        if scope["type"] == "websocket":
            return await self._app(scope, receive, send)
        if scope["path"] == HEALTH and not self._warm_up.is_over(scope):
            return await _answer(send, 503, {"status": "warming up"})
        posted = scope["method"] == "POST"
        log = self._log if posted else None
        exchange = Exchange(receive, send, copied=posted and self._mirror is not None, logged=log is not None)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            if log is not None:
                log.event("texts", **exchange.transcript(scope))
        if self._mirror is not None and exchange.body and 200 <= exchange.status < 400:
            if not self._mirrors:
                self._mirrors = True
                self._mirror.start()
            self._mirror.offer(scope["path"], whole_answer(bytes(exchange.body)), scope["headers"])
        return None


class Exchange:
    """One request and its answer, on their way."""

    def __init__(self, receive: Receive, send: Send, *, copied: bool, logged: bool) -> None:
        self._receive, self._send, self._kept, self._logged = receive, send, copied or logged, logged
        self._began = time.monotonic()
        self.status = 0
        self.body = bytearray()
        """Of the request; empty if nobody wants it, or it is too long for a copy."""
        self._answer = bytearray()

    async def receive(self) -> Message:
        message = await self._receive()
        if self._kept and message["type"] == "http.request":
            self.body += message.get("body", b"")
            if len(self.body) > QUEUE_BYTES:
                self._kept, self.body = False, bytearray()
        return message

    async def send(self, message: Message) -> None:
        """While the pod drains, each answer ends its connection: the client's next request goes to another pod."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if DRAINING.exists():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif self._logged and len(self._answer) < QUEUE_BYTES:
            self._answer += message.get("body", b"")
        await self._send(message)

    def transcript(self, scope: Scope) -> dict[str, Any]:
        """What a log may have of it."""
        return {
            "request_id": _header(scope, b"x-request-id").decode(errors="replace")[:64],
            "path": scope["path"][:256],
            "status": self.status,
            "latency_ms": round((time.monotonic() - self._began) * 1000, 3),
            **asked(bytes(self.body)),
            "answer": answered(bytes(self._answer)),
        }


class Keys:
    """The keys in a folder, one a file, as a Secret is mounted; read anew when they are older than READ_SECONDS."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: list[bytes] = []
        self._read_at = -READ_SECONDS

    def allow(self, authorization: bytes) -> bool:
        """Whether the header has one of the keys. Without any key, nobody is let in."""
        scheme, _, given = authorization.partition(b" ")
        found = False
        for key in self._current():
            found |= hmac.compare_digest(key, given.strip())
        return found and scheme.lower() == b"bearer"

    def _current(self) -> list[bytes]:
        if time.monotonic() - self._read_at >= READ_SECONDS:
            names = [name for name in os.listdir(self._folder) if not name.startswith("..")]  # Those are the kubelet's.
            self._keys = [key for name in names if (key := _content(self._folder / name))]
            self._read_at = time.monotonic()
        return self._keys


def _content(file: Path) -> bytes:
    """Empty if the key has just been removed from the Secret."""
    try:
        return file.read_bytes().strip()
    except FileNotFoundError:
        return b""


def whole_answer(body: bytes) -> bytes:
    """The request without `stream`: a copy's answer is thrown away, and one that isn't read to its end is stopped."""
    try:
        request = json.loads(body)
    except ValueError:
        return body
    if not isinstance(request, dict) or not request.get("stream"):
        return body
    return json.dumps(
        {key: value for key, value in request.items() if key not in ("stream", "stream_options")}
    ).encode()


def _mirror() -> Mirror | None:
    url = os.environ.get("MODELOPS_MIRROR_URL")
    if not url:
        return None
    mirror = Mirror(
        url,
        float(os.environ.get("MODELOPS_MIRROR_PERCENT", "100")),
        seconds=SHADOW_SECONDS,
        connections=SHADOW_CONNECTIONS,
        passed_on=frozenset({b"authorization"}),
    )
    REGISTRY.register(mirror)
    return mirror


def _guarded(scope: Scope) -> bool:
    """Browsers ask without a key whether they may ask at all."""
    return scope["path"] not in OPEN and scope.get("method") != "OPTIONS"


def _header(scope: Scope, name: bytes) -> bytes:
    return bytes(dict(scope["headers"]).get(name, b""))


async def _refuse(scope: Scope, send: Send) -> None:
    """As OpenAI's API does it."""
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})
    error = {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}
    return await _answer(send, 401, {"error": error}, (b"www-authenticate", b"Bearer"))


async def _answer(send: Send, status: int, content: Any, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(content).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    return await send({"type": "http.response.body", "body": body})
