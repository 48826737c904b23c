"""Right answers of the server."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_content_type_may_name_utf8(server: RunningServer) -> None:
    headers = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert server.ask("POST", "/api/predict", b'{"inputs":[[0.5]]}', headers).status == 200


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
