"""Passes requests on to the registry in UPSTREAM, and spoils the answers as the file /tmp/fault says: `slow`,
`errors` or `truncated`. Each spoilt answer is a line in /tmp/spoilt."""

import os
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULT, SPOILT = Path("/tmp/fault"), Path("/tmp/spoilt")
UPSTREAM = os.environ["UPSTREAM"]
SLOW_SECONDS = 2


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body: bytes | None) -> None:
        fault = FAULT.read_text().strip() if FAULT.exists() else ""
        if fault:
            with SPOILT.open("a") as file:
                file.write(f"{self.path}\n")
        if fault == "errors":
            return self._send(500, b"not today")
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        request = urllib.request.Request(UPSTREAM + self.path, body, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return self._send(status, content, truncated=fault == "truncated")

    def _send(self, status: int, content: bytes, *, truncated: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if truncated else content)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


ThreadingHTTPServer(("", 5000), Handler).serve_forever()
