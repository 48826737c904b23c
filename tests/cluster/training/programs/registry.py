"""As much of an MLflow registry as a training without a framework needs: aliases, in memory, and who published them."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

published: dict[str, list[str]] = {}


class Handler(BaseHTTPRequestHandler):
    """GET the alias's version as MLflow does; POST /publish adds one; GET /published tells them all."""

    def do_GET(self) -> None:
        if self.path == "/published":
            return self.answer(200, published)
        alias = self.path.rpartition("alias=")[2]
        if alias in published:
            return self.answer(200, {"model_version": {"version": "1"}})
        return self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        document = json.loads(self.rfile.read(length))
        published.setdefault(document["alias"], []).append(document["text"])
        self.answer(200, {})

    def answer(self, status: int, body: Any) -> None:
        """A JSON answer."""
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing: what matters is in the answers."""


ThreadingHTTPServer(("", 5000), Handler).serve_forever()
