"""Right answers of the server."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.manifest import Tensor
from modelops_runtime.serving.http import Refusal
from modelops_runtime.serving.validation import InputReader
from tests.models import write_model
from tests.unit.model.support import RunningServer, start_server

numbers = st.floats(-(2.0**100), 2.0**100, width=32)


def test_one_row_gives_one_number(server: RunningServer) -> None:
    answer = server.post({"inputs": [[0.5]]})
    assert (answer.status, answer.json()) == (200, {"outputs": [2.0]})
    assert answer.headers["content-type"] == "application/json"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(numbers, min_size=1, max_size=40))
def test_each_row_gets_its_own_answer(server: RunningServer, rows: list[float]) -> None:
    answer = server.post({"inputs": [[row] for row in rows]})
    expected = np.array(rows, "float32") * np.float32(2) + np.float32(1)
    assert answer.status == 200
    np.testing.assert_allclose(answer.json()["outputs"], expected, rtol=1e-6)


def test_whole_numbers_are_numbers(server: RunningServer) -> None:
    assert server.post({"inputs": [[1], [-3]]}).json() == {"outputs": [3.0, -5.0]}


def test_the_largest_batch_is_answered(server: RunningServer) -> None:
    answer = server.post({"inputs": [[row] for row in range(1024)]})
    assert answer.json()["outputs"] == [2 * row + 1 for row in range(1024)]


def test_several_output_columns_give_a_list_a_row(tmp_path: Path) -> None:
    write_model(tmp_path / "model", weights=((1, 2, 3), (4, 5, 6)), bias=(1, -1))
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        assert server.post({"inputs": [[1, 1, 1], [0, 0, 0]]}).json() == {"outputs": [[7.0, 14.0], [1.0, -1.0]]}


def test_the_caller_s_request_id_comes_back(server: RunningServer) -> None:
    answer = server.ask("GET", "/healthz/live", headers={"X-Request-Id": "trace-7"})
    assert answer.headers["x-request-id"] == "trace-7"


def test_a_strange_request_id_is_replaced(server: RunningServer) -> None:
    answer = server.ask("GET", "/healthz/live", headers={"X-Request-Id": "x" * 200})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        'application/json; charset="UTF-8"',
        "application/json; charset=utf-8;",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ],
)
def test_a_client_need_not_know_what_to_say_of_its_json(server: RunningServer, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert server.ask("POST", "/api/predict", b'{"inputs":[[0.5]]}', headers).json() == {"outputs": [2.0]}


def test_curl_needs_no_header(server: RunningServer) -> None:
    command = ["curl", "-s", f"http://127.0.0.1:{server.port}/api/predict", "-d", '{"inputs": [[0.5]]}']
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == '{"outputs":[2.0]}'


def test_a_byte_order_mark_is_passed_over(server: RunningServer) -> None:
    tensor = b'{"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}]}'
    assert server.post(b'\xef\xbb\xbf{"inputs": [[0.5]]}').json() == {"outputs": [2.0]}
    assert server.post(b"\xef\xbb\xbf" + tensor, "/v2/models/line/infer").status == 200


def test_a_trailing_slash_is_no_other_path(server: RunningServer) -> None:
    assert server.post({"inputs": [[0.5]]}, "/api/predict/").json() == {"outputs": [2.0]}
    assert server.ask("GET", "/v2/").json()["name"] == "modelops"
    assert server.ask("GET", "/v2/models/line/").status == 200
    assert not [series for series in server.metrics() if 'path="/api/predict/"' in series]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (b"[[1.0], [2], [-3e0]]", [[1], [2], [-3]]),
        (b"[[9007199254740992.0]]", [[2**53]]),
        (b"[[9007199254740993]]", [[2**53 + 1]]),
        (b"[[1], [1.5]]", "inputs[1][0] must be a whole number, not 1.5"),
        (b"[[9007199254740994.0]]", "inputs[0][0] must be a whole number, not 9.0072e+15"),
        (b'[["1"]]', "inputs[0][0] must be a whole number, not a string"),
    ],
)
def test_where_whole_numbers_are_wanted_1_0_is_one(numbers: bytes, expected: object) -> None:
    reader = InputReader(Tensor((-1, 1), "int64"), 10)
    try:
        read = reader.read(b'{"inputs": ' + numbers + b"}").tolist()
    except Refusal as refusal:
        read = refusal.message
    assert read == expected


def test_a_chunked_body_is_read_whole(server: RunningServer) -> None:
    connection = server.connect()
    chunks = iter([b'{"inp', b'uts": [[0', b".5]]}"])
    connection.request("POST", "/api/predict", chunks, server.headers, encode_chunked=True)
    assert connection.getresponse().read() == b'{"outputs":[2.0]}'
    connection.close()


def test_connections_are_kept(server: RunningServer) -> None:
    connection = server.connect()
    for _request in range(3):
        connection.request("POST", "/api/predict", b'{"inputs":[[0.5]]}', server.headers)
        response = connection.getresponse()
        response.read()
        assert response.getheader("connection") is None
        assert not response.will_close
    connection.close()


def test_head_is_get_without_a_body(server: RunningServer) -> None:
    answer = server.ask("HEAD", "/healthz/ready")
    assert (answer.status, answer.body) == (200, b"")
