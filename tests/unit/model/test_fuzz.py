"""20,000 requests made from the OpenAPI document and by hand: no 5xx, no crash, no memory kept, and the document true.

The document is held against what the server does in both directions: what it takes the schema allows, and what the
schema allows it takes, but for the rules that a schema can't say and the document has in words.
"""

import contextlib
import http.client
import json
import os
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from tests.models import write_model
from tests.unit.model.schema_values import Schemas
from tests.unit.model.support import RunningServer, start_server

REQUESTS = 20_000
WARM_UP = 10_000
"""By then every kind of request was seen and the allocator has what it needs."""
WINDOW = 2_000
"""Requests over which the least memory counts."""
KEPT_BYTES = 8 * 2**20
"""More memory than after the warm-up, at the end: what the allocator's noise may be."""
SEED = 20_5
PREDICT, INFER = "/api/predict", "/v2/models/line/infer"
JSON = {"Content-Type": "application/json"}


TENSOR = b'{"inputs": [{"name": "input", "shape": [%b], "datatype": "FP32", "data": %b}]}'


BINARY = (
    b'{"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": %d}}],'
    b' "parameters": {"binary_data_output": true}}'
)


def by_hand() -> list[tuple[str, str, bytes, dict[str, str]]]:
    """What nobody's schema generates: (method, path, body, headers)."""
    depth, wide = 100_000, 200_000
    bodies = [
        b"", b" ", b"\x00", b"\xff\xfe\x00", b"{", b"}", b"nul", b"NaN", b'"' * 999, b"[" * depth, b'{"a":' * depth,
        b'{"inputs": [[NaN]]}', b'{"inputs": [[Infinity], [-Infinity]]}', b'{"inputs": [[1e400]]}',
        b'{"inputs": [[1' + b"0" * 5000 + b"]]}", b'{"inputs": [[0.' + b"1" * 100_000 + b"]]}",
        b'{"inputs": [[1], [1, 2], []]}', b'{"inputs": [[1], 1]}', b'{"inputs": [[[[1]]]]}', b'{"inputs": [["1"]]}',
        b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}", b'{"inputs": [' + b"[]," * wide + b"[]]}",
        b'{"inputs": [' + b"[1]," * wide + b"[1]]}", b'{"inputs": [[' + b"1," * wide + b"1]]}",
        b'{"inputs": [[1]]}' + b" " * 2**19, b" " * (2**20 + 1), b'{"inputs": [[1]], "inputs": [["x"]]}',
        b'{"inputs": [[1]]}{"inputs": [[1]]}', b'{"inputs": [[1]]}\x00', b"\xef\xbb\xbf" + b'{"inputs": [[1]]}',
        b'{"inputs": [[0x10]]}', b'{"inputs": [[+1]]}', b'{"inputs": [[1.]]}', b'{"inputs": [[01]]}',
        b'{"\\ud800": 1}', b'{"inputs": "' + b"\\u0000" * 1000 + b'"}',
        b'{"id": ' + b"[" * depth + b"]" * depth + b', "inputs": []}',
        b'{"parameters": {"a": {"a": {}}}, "inputs": []}',
        TENSOR % (b"1, 1", b"[" * 5000 + b"]" * 5000), TENSOR % (b"9" * 4000 + b", 1", b"[1]"),
        TENSOR % (b"18446744073709551616, 1", b"[1]"), TENSOR % (b"1e2, 1", b"[1]"), TENSOR % (b"1, 1", b"null"),
    ]  # fmt: skip
    types = [
        "",
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "a" * 2000,
        ";",
        "multipart/form-data",
    ]
    made = [("POST", path, body, JSON) for body in bodies for path in (PREDICT, INFER)]
    made += [
        ("POST", path, b'{"inputs": [[1]]}', {"Content-Type": kind}) for kind in types for path in (PREDICT, INFER)
    ]
    made += [("POST", PREDICT, b"\x1f\x8b\x08", {**JSON, "Content-Encoding": "gzip"})]
    made += [("POST", path, b'{"inputs": [[1]]}', {**JSON, "X-Request-Id": "\xff" * 9}) for path in (PREDICT, INFER)]
    for size, length, binary in (
        (4, None, b"\0\0\0?"), (4, None, b""), (3, None, b"abc"), (2**60, None, b"abcd"), (-1, None, b"abcd"),
        (4, b"0", b"abcd"), (4, b"9" * 30, b"abcd"), (4, b"-1", b"abcd"), (4, b"x", b"abcd"), (4, None, b"\xff" * 4),
    ):  # fmt: skip
        text = BINARY % size
        header = {"Inference-Header-Content-Length": (length or str(len(text)).encode()).decode()}
        made += [("POST", INFER, text + binary, {**JSON, **header})]
    paths = [
        "/%00",
        "/%ff",
        "//",
        "/../../etc/passwd",
        "/api/predict/",
        "/api/predict?x=1",
        "/v2/models/",
        "/?",
        "/page/",
    ]
    paths += ["/v2/models/other/infer", "/v2/models/line/versions/9/infer", "/" + "a" * 5000, "/v2/models/line%2finfer"]
    made += [(method, path, b"", {}) for path in paths for method in ("GET", "POST")]
    methods = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
    made += [(method, path, b"", {}) for method in methods for path in (PREDICT, INFER, "/", "/metrics", "/v2")]
    return made


POST = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
RAW = [
    b"GET", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n",
    POST + b'Content-Length: 100\r\n\r\n{"inputs"', POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: abc\r\n\r\n", POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"in', POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET /metrics HTTP/1.0\r\n\r\n", b"GET http://x/metrics HTTP/1.1\r\nHost: y\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: y\r\n\r\n", b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
]  # fmt: skip


@pytest.fixture
def fuzzed(model_dir: Path, tmp_path: Path) -> Iterator[RunningServer]:
    with start_server(model_dir, tmp_path / "log") as server:
        yield server


def memory(server: RunningServer) -> int:
    """Bytes of the server's own; the pages of program files come and go with what else the machine does."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


class Fuzzer:
    """Asks over one kept connection, and holds every answer against the document."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.random = random.Random(SEED)
        self.document = server.ask("GET", "/openapi.json").json()
        self.schemas = Schemas(self.document, self.random)
        self.statuses: Counter[int] = Counter()
        self.by_hand = by_hand()
        self.posts = {path: methods["post"] for path, methods in self.document["paths"].items() if "post" in methods}
        self.gets = [path for path, methods in self.document["paths"].items() if "get" in methods]
        self._validators: dict[int, Any] = {}
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection or self.server.connect(30)
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        content = response.read()
        self._connection = None if response.will_close else connection
        if response.will_close:
            connection.close()
        self.statuses[response.status] += 1
        answered = {key.lower(): value for key, value in response.getheaders()}
        assert response.status < 500, (method, path, body[:300], content)
        assert answered["x-request-id"]
        return response.status, answered, content

    def valid(self, schema: dict[str, Any], value: Any) -> bool:
        validator = self._validators.get(id(schema))
        if validator is None:
            whole = {**schema, "components": self.document["components"]}
            validator = self._validators[id(schema)] = jsonschema.Draft202012Validator(whole)
        return bool(validator.is_valid(value))

    def conforms(self, operation: dict[str, Any], status: int, headers: dict[str, str], content: bytes) -> None:
        """The answer is one that the document has for this operation."""
        documented = operation["responses"][str(status)]
        media = headers["content-type"].split(";")[0]
        described = documented["content"][media]
        if media == "application/json":
            assert self.valid(described["schema"], json.loads(content)), (status, content)
        for name, header in documented["headers"].items():
            assert not self.schemas.resolve(header)["required"] or name.lower() in headers

    def least_memory(self, requests: int) -> int:
        """The least memory that the server has over so many requests. In between it holds what it is about to free."""
        found = []
        for number in range(requests):
            self.step()
            if number % 20 == 0:
                found.append(memory(self.server))
        return min(found)

    def step(self) -> None:
        kind = self.random.random()
        if kind < 0.7:
            self.from_the_document(mistaken=kind > 0.25)
        elif kind < 0.8:
            path = self.random.choice(self.gets)
            answer = self.ask("GET", path, b"", {"X-Request-Id": self.random.choice(["a", "!" * 128, "b" * 129])})
            self.conforms(self.document["paths"][path]["get"], *answer)
        elif kind < 0.99:
            method, path, body, headers = self.random.choice(self.by_hand)
            status, answered, content = self.ask(method, path, body, headers)
            known = unquote(path.split("?")[0])
            known = known if known in self.document["paths"] else known.removesuffix("/")
            operation = self.document["paths"].get(known, {}).get(method.lower())
            if operation:
                self.conforms(operation, status, answered, content)
            elif method != "HEAD":
                assert status in (404, 405)
        else:
            self.raw(self.random.choice(RAW))

    def from_the_document(self, *, mistaken: bool) -> None:
        path = self.random.choice(list(self.posts))
        schema = self.posts[path]["requestBody"]["content"]["application/json"]["schema"]
        value = self.schemas.value(schema)
        if mistaken:
            value = self.schemas.mistaken(value)
        body = json.dumps(value).encode()
        if mistaken and self.random.random() < 0.05:
            body = body[: self.random.randrange(len(body))]
        status, headers, content = self.ask("POST", path, body, JSON)
        self.conforms(self.posts[path], status, headers, content)
        try:
            allowed = b"NaN" not in body and b"Infinity" not in body and self.valid(schema, json.loads(body))
        except ValueError:
            allowed = False
        if status == 200:
            assert allowed, (path, body, content)
        elif allowed:
            assert _in_words(json.loads(content)["error"]), (path, body, content)

    def raw(self, sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), 10) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(65536):
                    answer += part
        for line in answer.split(b"\r\n"):
            assert not line.startswith(b"HTTP/1.1 5"), (sent[:300], line)


def _in_words(error: Any) -> bool:
    """Rules that the document has in words, since a schema can't say them."""
    message = error if isinstance(error, str) else error["message"]
    if re.search(r"must fit into (?!float32)|must be a whole number", message):  # of a datatype that isn't the model's
        return True
    return "is not a finite number" in message or "as its shape says" in message


def within(seconds: float, check: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not (true := check()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return true


def test_nothing_makes_the_server_fail_and_the_document_is_true(fuzzed: RunningServer) -> None:
    fuzzer = Fuzzer(fuzzed)
    for method, path, body, headers in fuzzer.by_hand:
        fuzzer.ask(method, path, body, headers)
    for sent in RAW:
        fuzzer.raw(sent)
    for _request in range(WARM_UP):
        fuzzer.step()
    before = fuzzer.least_memory(WINDOW)
    files = len(os.listdir(f"/proc/{fuzzed.process.pid}/fd"))
    for _request in range(REQUESTS - WARM_UP - 2 * WINDOW):
        fuzzer.step()
    assert fuzzer.least_memory(WINDOW) - before < KEPT_BYTES
    assert fuzzed.process.poll() is None
    # A connection that was given up is closed when the server next looks at it, on a busy machine a moment later.
    assert within(10, lambda: len(os.listdir(f"/proc/{fuzzed.process.pid}/fd")) <= files + 2)
    assert fuzzed.post({"inputs": [[0.5]]}).json() == {"outputs": [2.0]}
    assert within(10, lambda: fuzzed.metrics()["modelops_in_flight"] == 1)
    assert fuzzer.statuses[200] > REQUESTS * 0.15
    assert {400, 404, 405, 413, 415, 422} <= fuzzer.statuses.keys()
    assert fuzzed.process.stderr is not None
    fuzzed.terminate()
    assert "Traceback" not in fuzzed.process.stderr.read()
    assert not [line for line in fuzzed.log() if line["level"] == "error"]


def test_the_document_of_another_model_is_true_too(tmp_path: Path) -> None:
    """Several columns in and out."""
    write_model(tmp_path / "model", weights=((1, 2, 3), (4, 5, 6)), bias=(1, -1))
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        fuzzer = Fuzzer(server)
        for number in range(1000):
            fuzzer.from_the_document(mistaken=number % 2 == 0)
        assert {200, 422} <= fuzzer.statuses.keys()
