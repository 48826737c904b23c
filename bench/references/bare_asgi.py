"""The near limit: LiteRT behind a bare ASGI application on uvicorn, without validation, logs, metrics or errors."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from litert import Line

line = Line()
HEADERS = [(b"content-type", b"application/json")]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    body = b""
    if scope["method"] == "POST":
        more = True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        body = json.dumps({"outputs": line.predict(json.loads(body)["inputs"])[:, 0].tolist()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    options: dict[str, Any] = {"lifespan": "off", "log_level": "critical", "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["MODELOPS_PORT"]), **options)
