"""A model server that a team might have: Python's own HTTP server, nothing of this project."""

import json
import os
import pathlib
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES = {file.name for file in pathlib.Path(os.environ["MODELOPS_MODEL_DIR"]).iterdir()}


class Handler(BaseHTTPRequestHandler):
    """Ready when the fetched files are there; every POST is a prediction."""

    def do_GET(self) -> None:
        self.send_response(200 if FILES else 503)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"served_by": "a server of its own", "model": os.environ["MODELOPS_MODEL_NAME"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", int(os.environ["MODELOPS_PORT"])), Handler).serve_forever()
