"""A proxy before the test's Elasticsearch: TLS, users with rights, a record of what was asked, and a switch.

The node behind it has the open-source modules only. What those lack is dealt with here, so that the programs under
test are the same as against a full one: requests to the basic licence's APIs are recorded and acknowledged, and a
template is put without what needs them (streams become plain indices of the same name).
"""

import base64
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODE = "http://127.0.0.1:9200"
USERS = {"admin": os.environ.get("ADMIN_PASSWORD", ""), "writer": os.environ.get("WRITER_PASSWORD", "")}
LICENSED = ("/_ilm/", "/_slm/", "/_snapshot/", "/_security/")
LICENSE = {"license": {"status": "active", "uid": "tests", "type": "basic"}}
RECORD: list[dict[str, Any]] = []


def writer_may(method: str, path: str, body: bytes) -> bool:
    """What `create_doc` and `monitor` allow: to be greeted, to see the licence, and to add documents to our streams."""
    path = path.partition("?")[0]
    if (method, path) in (("GET", "/"), ("HEAD", "/"), ("GET", "/_license")):
        return True
    if method != "POST" or path != "/_bulk":
        return False
    actions = [json.loads(line) for line in body.splitlines()[::2]]
    return all(
        list(action) == ["create"] and action["create"]["_index"].startswith("modelops-logs-") for action in actions
    )


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        user = self._user()
        allowed = user == "admin" or (user == "writer" and writer_may(self.command, self.path, body))
        entry = {
            "user": user,
            "agent": self.headers.get("User-Agent", ""),
            "method": self.command,
            "path": self.path,
            "allowed": allowed,
            "at": time.time(),
        }
        if self.path.startswith(LICENSED) or "template" in self.path:
            entry["body"] = body.decode()
        RECORD.append(entry)
        if not allowed:
            self._answer(401 if user is None else 403, b'{"error": "security_exception"}')
        elif self.path.startswith("/_license"):
            self._answer(200, json.dumps(LICENSE).encode())
        elif self.path.startswith(LICENSED):
            self._answer(200, b'{"acknowledged": true}')
        else:
            self._forward(self._adapted(body))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _user(self) -> str | None:
        kind, _, encoded = (self.headers.get("Authorization") or "").partition(" ")
        try:
            name, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return None
        return name if kind == "Basic" and name in USERS and USERS[name] == password else None

    def _adapted(self, body: bytes) -> bytes:
        if self.command == "PUT" and self.path.startswith("/_index_template/"):
            template = json.loads(body)
            del template["data_stream"]
            del template["template"]["settings"]["index.lifecycle.name"]
            return json.dumps(template).encode()
        return body

    def _forward(self, body: bytes) -> None:
        kind = self.headers.get("Content-Type", "application/json")
        request = urllib.request.Request(NODE + self.path, body or None, {"Content-Type": kind}, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self._answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())
        except OSError as error:
            self._answer(503, json.dumps({"error": str(error)}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Node:
    """The Elasticsearch process and the port in front of it; both are there, or neither."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        if self._process is None:
            heap = os.environ.get("HEAP", "384m")
            java = ["java", f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            self._process = subprocess.Popen(
                [*java, "-cp", "/opt/elasticsearch/*", "local.Main", "/data/elasticsearch"], cwd="/data"
            )
        while not answers():
            time.sleep(0.5)
        if self._server is None:
            self._server = ThreadingHTTPServer(("0.0.0.0", 9243), Proxy)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain("/certificates/server.crt", "/certificates/server.key")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def answers() -> bool:
    try:
        with urllib.request.urlopen(f"{NODE}/_cluster/health?wait_for_status=yellow&timeout=1s", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Control(BaseHTTPRequestHandler):
    """For the test alone, by `kubectl exec`: /start, /stop, /record, /password/USER/PASSWORD."""

    node: Node

    def do_GET(self) -> None:
        if self.path == "/start":
            self.node.start()
        elif self.path == "/stop":
            self.node.stop()
        elif self.path.startswith("/password/"):
            user, password = self.path.removeprefix("/password/").split("/")
            USERS[user] = urllib.parse.unquote(password)
        body = json.dumps(RECORD if self.path == "/record" else {"up": answers()}).encode()
        self.send_response(200 if self.path != "/ready" or answers() else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    Control.node = Node()
    threading.Thread(target=Control.node.start, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", 9250), Control).serve_forever()


if __name__ == "__main__":
    main()
