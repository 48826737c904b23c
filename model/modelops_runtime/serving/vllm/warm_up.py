"""The first answers of an engine, before it counts as ready.

They take longer than all that follow, since templates, kernels and adapters are loaded by them: no client is to wait
for that, and no canary to be judged by it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

SECONDS = 60.0
"""After so long the engine counts as ready all the same."""
_TEXT = "Hello"
_REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": _TEXT}], "max_tokens": 2},
    "/v1/completions": {"prompt": _TEXT, "max_tokens": 2},
    "/v1/embeddings": {"input": _TEXT},
}
"""What a model may be able to do; the first that it does is enough."""

Scope = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]


class WarmUp:
    """Asks each model of vLLM's own application once, beside whoever asks whether that is over."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None

    def is_over(self, scope: Scope) -> bool:
        """The first call begins it; `scope` is that of a request to the application."""
        if self._task is None:
            self._task = asyncio.create_task(self._ask_all(scope))
        return self._task.done()

    async def _ask_all(self, scope: Scope) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                _, listed = await self._ask(scope, "GET", "/v1/models")
                for model in json.loads(listed)["data"]:
                    for path, content in _REQUESTS.items():
                        status, _ = await self._ask(scope, "POST", path, {"model": model["id"], **content})
                        if status == 200:
                            break
        except Exception:  # whatever it is, clients get to know it better from their own requests
            return

    async def _ask(
        self, scope: Scope, method: str, path: str, content: Mapping[str, Any] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer, past the network and past what stands in front of the application."""
        body = b"" if content is None else json.dumps(content).encode()
        asked, status, answer = False, 0, bytearray()

        async def receive() -> Mapping[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # a client that stays until it has its answer
            asked = True
            return {"type": "http.request", "body": body}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        own = {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
        await self._app({**scope, **own}, receive, send)
        return status, bytes(answer)
