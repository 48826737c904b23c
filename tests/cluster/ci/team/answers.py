"""The team's service: what it answers."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(body: bytes) -> bytes:
    """Doubles every input."""
    inputs = json.loads(body)["inputs"]
    return json.dumps({"release": os.environ["RELEASE"], "outputs": [[2 * x for x in row] for row in inputs]}).encode()


class Handler(BaseHTTPRequestHandler):
    """The service over HTTP."""

    def do_GET(self) -> None:
        """Is it alive?"""
        self._say(b"ok")

    def do_POST(self) -> None:
        """A prediction."""
        self._say(answer(self.rfile.read(int(self.headers["Content-Length"]))))

    def _say(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
