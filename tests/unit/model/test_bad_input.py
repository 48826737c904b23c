"""Bad input gets a 4xx that names field and rule, never a 5xx, and never disturbs the server."""

import asyncio
import contextlib
import json
import random
import time
from functools import partial
from typing import Any

import pytest
import uvicorn

from modelops_runtime.serving import protocol
from modelops_runtime.serving.http import ANSWER
from tests.unit.model.support import Answer, RunningServer

FUZZED_REQUESTS = 400


def error(answer: Answer) -> tuple[int, str, str]:
    content = answer.json()["error"]
    assert content["message"]
    return answer.status, content["field"], content["rule"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "body", "json")),
        (b"{", (400, "body", "json")),
        (b'{"inputs": [[0.5]', (400, "body", "json")),
        (b'{"inputs": [[0.5]]}x', (400, "body", "json")),
        (b'{"inputs": [[NaN]]}', (400, "body", "json")),
        (b'{"inputs": [[Infinity]]}', (400, "body", "json")),
        (b'{"inputs": [[-Infinity]]}', (400, "body", "json")),
        (b"\xff\xfe", (400, "body", "json")),
        (b'{"inputs": [["\xff"]]}', (422, "inputs[0][0]", "type")),
        (b'{"inputs": [[1e999]]}', (422, "inputs[0][0]", "finite")),
        (b'{"inputs": [[1e39]]}', (422, "inputs[0][0]", "finite")),
        (b'{"inputs": [[0], [-1e39]]}', (422, "inputs[1][0]", "finite")),
        (b'{"inputs": [[3e38]]}', (422, "inputs", "finite")),
        (b'{"inputs": [[1' + b"0" * 400 + b"]]}", (422, "inputs[0][0]", "finite")),
        (b"[]", (422, "body", "type")),
        (b"null", (422, "body", "type")),
        (b"7", (422, "body", "type")),
        (b"{}", (422, "inputs", "required")),
        (b'{"inputs": null}', (422, "inputs", "depth")),
        (b'{"inputs": 0.5}', (422, "inputs", "depth")),
        (b'{"inputs": "0.5"}', (422, "inputs", "depth")),
        (b'{"inputs": {}}', (422, "inputs", "depth")),
        (b'{"inputs": []}', (422, "inputs", "min_rows")),
        (b'{"inputs": [0.5]}', (422, "inputs[0]", "depth")),
        (b'{"inputs": [[]]}', (422, "inputs[0]", "length")),
        (b'{"inputs": [[1], [1, 2]]}', (422, "inputs[1]", "length")),
        (b'{"inputs": [[1, 2], [1]]}', (422, "inputs[0]", "length")),
        (b'{"inputs": [[[0.5]]]}', (422, "inputs[0][0]", "depth")),
        (b'{"inputs": [[1], ["2"]]}', (422, "inputs[1][0]", "type")),
        (b'{"inputs": [[true]]}', (422, "inputs[0][0]", "type")),
        (b'{"inputs": [[null]]}', (422, "inputs[0][0]", "type")),
        (b'{"inputs": [[{}]]}', (422, "inputs[0][0]", "type")),
        (b'{"inputs": [[1]], "x": 1}', (422, "x", "known_field")),
        (b'{"instances": [[1]]}', (422, "instances", "known_field")),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (422, "inputs[0][0]", "depth")),
        (b"[" * 100_000, (422, "body", "type")),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (422, "x", "known_field")),
        (json.dumps({"inputs": [[1]] * 1025}).encode(), (422, "inputs", "max_rows")),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused(
    server: RunningServer, body: bytes, expected: tuple[int, str, str]
) -> None:
    assert error(server.post(body)) == expected


def test_a_body_over_the_limit_is_refused(server: RunningServer) -> None:
    answer = server.post(b" " * (2**20 + 1))
    assert error(answer) == (413, "body", "max_bytes")
    assert answer.headers["connection"] == "close"


def test_a_chunked_body_over_the_limit_is_refused(server: RunningServer) -> None:
    connection = server.connect()
    chunks = (b" " * 2**16 for _chunk in range(40))
    connection.request("POST", "/api/predict", chunks, server.headers, encode_chunked=True)
    response = connection.getresponse()
    assert error(Answer(response.status, {}, response.read())) == (413, "body", "max_bytes")
    connection.close()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16"]
)
def test_another_content_type_is_refused(server: RunningServer, content_type: str) -> None:
    answer = server.ask("POST", "/api/predict", b'{"inputs":[[0.5]]}', {"Content-Type": content_type})
    assert error(answer) == (415, "Content-Type", "application/json")


def test_a_compressed_body_is_refused(server: RunningServer) -> None:
    answer = server.ask("POST", "/api/predict", b"x", {**server.headers, "Content-Encoding": "gzip"})
    assert error(answer) == (415, "Content-Encoding", "identity")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"instances": [[1]]}', "instances is not a field that is taken here"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1]]}}', "dataframe_split is not a field"),
        (b'{"data": {"ndarray": [[1]]}}', "data is not a field that is taken here"),
        (b"[[1]]", "body must be an object, not a list"),
        (b'{"inputs": [{"name": "input", "shape": [1, 1]}]}', "inputs[0] must be a list, not an object"),
    ],
)
def test_a_body_in_another_server_s_form_is_answered_by_what_to_send(
    server: RunningServer, body: bytes, message: str
) -> None:
    answer = server.post(body)
    assert answer.status == 422
    said = answer.json()["error"]["message"]
    assert said.startswith(message) and said.endswith('; send {"inputs": [row, …]}, each row 1 number in a list')
    answer = server.post(body.replace(b"[{", b"[[{").replace(b"}]", b"}]]"), "/v2/models/line/infer")
    assert answer.status == 422
    assert answer.json()["error"].endswith(
        '; send {"inputs": [{"name": "input", "shape": [rows, 1], "datatype": "FP32", "data": […]}]}'
    )


@pytest.mark.parametrize(
    ("path", "body", "twice"),
    [
        ("/api/predict", b'{"inputs": [[1]], "inputs": [[2]]}', "inputs"),
        ("/api/predict", b'{"inputs": [[1]], "\\u0069nputs": [[2]]}', "inputs"),
        ("/v2/models/line/infer", b'{"id": "1", "inputs": [%s], "id": "2"}', "id"),
        ("/v2/models/line/infer", b'{"id": "a:b:c", "inputs": [%s], "inputs": [%s]}', "inputs"),
        ("/v2/models/line/infer", b'{"inputs": [%s], "parameters": {"a": 1, "a": 2}}', "a"),
    ],
)
def test_a_key_given_twice_is_refused(server: RunningServer, path: str, body: bytes, twice: str) -> None:
    """A parser takes the last one, a proxy or a log may take the first."""
    tensor = b'{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [1]}'
    answer = server.post(body.replace(b"%s", tensor), path)
    error = answer.json()["error"]
    assert answer.status == 422
    assert (error if isinstance(error, str) else error["message"]) == f"{twice} is given twice"


def test_colons_in_text_are_no_keys(server: RunningServer) -> None:
    tensor = {"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    body = {"id": "urn:a:b", "inputs": [tensor], "parameters": {"a:b": "c:d"}}
    assert server.post(body, "/v2/models/line/infer").json()["id"] == "urn:a:b"


@pytest.mark.parametrize("path", ["/page", "/api", "/api/predict//", "/healthz", "/v2x", "/%2e%2e/etc/passwd", "/\x7f"])
def test_an_unknown_path_is_not_found(server: RunningServer, path: str) -> None:
    answer = server.ask("GET", path.replace("\x7f", "%7f"))
    assert answer.status == 404
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/predict", "POST"),
        ("PUT", "/api/predict", "POST"),
        ("DELETE", "/api/predict", "POST"),
        ("OPTIONS", "/api/predict", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/healthz/ready", "GET, HEAD"),
    ],
)
def test_another_method_is_refused_with_those_that_work(
    server: RunningServer, method: str, path: str, allowed: str
) -> None:
    answer = server.ask(method, path)
    assert error(answer) == (405, "method", "allowed_method")
    assert answer.headers["allow"] == allowed


def _scrambled(generator: random.Random) -> bytes:
    """A valid body with bytes changed, left out, doubled; or values where others belong."""
    values: list[Any] = [None, True, "x", 1e300, -0.0, 10**30, {}, [], [[]], "\ud800", "é", {"inputs": [[1]]}]
    content: Any = {
        "inputs": [[generator.choice([0.5, 1, 1, -7e-3, 2e9, *values])] for _row in range(generator.randrange(4))]
    }
    if generator.random() < 0.3:
        content[generator.choice(["inputs", "x", ""])] = generator.choice(values)
    body = bytearray(json.dumps(content).encode())
    for _change in range(generator.choice([0, 0, 1, 2, 3])):
        at = generator.randrange(len(body)) if body else 0
        kind = generator.randrange(4)
        if kind == 0:
            body[at : at + 1] = generator.randbytes(1)
        elif kind == 1:
            del body[at : at + generator.randrange(1, 5)]
        elif kind == 2:
            body[at:at] = body[at : at + 8] * generator.randrange(1, 4)
        else:
            body[at:at] = generator.choice([b"[", b"]", b"{", b"}", b'"', b",", b"-", b"1e", b"\x00", b"nan"])
    return bytes(body)


def test_fuzzed_bodies_are_answered_or_refused(server: RunningServer) -> None:
    generator = random.Random(20240611)
    connection = server.connect()
    statuses: dict[int, int] = {}
    for _request in range(FUZZED_REQUESTS):
        body = _scrambled(generator)
        connection.request("POST", "/api/predict", body, server.headers)
        response = connection.getresponse()
        content = json.loads(response.read())
        statuses[response.status] = statuses.get(response.status, 0) + 1
        if response.status == 200:
            assert all(isinstance(value, float) for value in content["outputs"]), body
        else:
            assert response.status in (400, 422), (response.status, body, content)
            assert content["error"].keys() == {"field", "rule", "message"}
            assert "Traceback" not in content["error"]["message"]
    connection.close()
    assert sum(statuses.values()) == FUZZED_REQUESTS
    assert min(statuses[200], statuses[400], statuses[422]) > 10, statuses


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"GET / HTTP/1.1\r\n"])
def test_headers_without_end_are_refused(server: RunningServer, start: bytes) -> None:
    connection = server.connect()
    connection.connect()
    connection.sock.sendall(start)
    with contextlib.suppress(ConnectionError):  # it is closed while we still send
        for number in range(100):
            connection.sock.sendall(
                b"X-%d: %s\r\n" % (number, b"a" * 10_000) if start.endswith(b"\n") else b"a" * 10_000
            )
    with contextlib.suppress(ConnectionError):
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 431")
    connection.close()
    assert server.metrics()["process_resident_memory_bytes"] < 150e6


def test_what_is_turned_away_for_its_head_is_logged_and_counted(server: RunningServer) -> None:
    series = 'modelops_requests_total{code="%d",path="other"}'
    before = server.metrics()
    for sent in (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, b"\x00\x01\r\n\r\n"):
        connection = server.connect()
        connection.connect()
        connection.sock.sendall(sent)
        with contextlib.suppress(ConnectionError):
            assert connection.sock.recv(100).startswith(b"HTTP/1.1 4")
        connection.close()
    after = server.metrics()
    for status in (400, 431):
        assert after[series % status] == before.get(series % status, 0) + 1
    deadline = time.monotonic() + 10
    while {line["status"] for line in server.log() if line["event"] == "request" and not line["path"]} < {400, 431}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert after["modelops_in_flight"] == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/predict HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n",
        b"POST /api/predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_400(server: RunningServer, request_bytes: bytes) -> None:
    connection = server.connect()
    connection.connect()
    connection.sock.sendall(request_bytes)
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 400")
    connection.close()
    assert server.post({"inputs": [[0.5]]}).status == 200


async def ask_in_this_process(
    app: Any, state: uvicorn.server.ServerState, sent: list[bytes], turned_away: list[int]
) -> bytes:
    """What comes back until the server closes the connection. The statuses reported to the app are appended."""
    config = uvicorn.Config(app, lifespan="off", log_level="critical")
    config.load()
    bounded = partial(protocol.BoundedProtocol, turned_away=lambda status, _seconds: turned_away.append(status))
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: bounded(config, state, {}, loop), "127.0.0.1", 0)
    async with listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        for part in sent:
            writer.write(part)
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    return answer


def test_headers_that_do_not_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: the bound is 10 s, too long to wait for."""

    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    for sent in ([], [b"GET / HT"], [b"GET / HTTP/1.1\r\n", b"X: 1\r\n"]):
        told: list[int] = []
        answer = asyncio.run(ask_in_this_process(lambda: None, uvicorn.server.ServerState(), sent, told))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert told == ([408] if sent else [])  # a connection that asked for nothing is no request


def test_an_answer_that_waits_to_be_sent_goes_out_before_the_server_closes() -> None:
    """uvicorn closes connections whose answer is complete, also in the round in which it became so."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert scope[ANSWER](200, [(b"content-length", b"2")], b"ok")
        [connection] = state.connections
        connection.shutdown()

    state = uvicorn.server.ServerState()
    answered = asyncio.run(ask_in_this_process(answer, state, [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], []))
    assert answered.endswith(b"\r\n\r\nok")
