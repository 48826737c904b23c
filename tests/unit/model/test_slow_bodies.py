"""Bodies that come slowly, or would take long to read, keep no other request waiting."""

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from modelops_runtime.artifacts.manifest import Tensor
from modelops_runtime.serving.http import Arriving, Refusal
from modelops_runtime.serving.validation import LONG, InputReader
from tests.models import write_model
from tests.unit.model.support import RunningServer, start_server

HEAD = b"POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ROW = {"inputs": [[0.5]]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One that makes one prediction at a time."""
    folder = tmp_path_factory.mktemp("server")
    write_model(folder / "model")
    limits = {"MODELOPS_MAX_CONCURRENCY": 1, "MODELOPS_MAX_BODY_BYTES": 1000}
    with start_server(folder / "model", folder / "log", **limits) as running:
        yield running


@pytest.fixture
def slow(server: RunningServer) -> Iterator[Callable[[int], socket.socket]]:
    """A client that sends so many bytes of a longer body, in parts."""
    clients = []

    def client(sent: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        clients.append(connection)
        connection.sendall(HEAD % 900)
        connection.sendall(b" " * sent)
        return connection

    yield client
    for connection in clients:
        connection.close()


def test_a_body_that_does_not_come_takes_no_prediction_away(
    server: RunningServer, slow: Callable[[int], socket.socket]
) -> None:
    for _ in range(3):
        slow(10)
    assert server.post(ROW).status == 200


def test_bodies_that_do_not_come_hold_no_more_memory_than_predictions_may(
    server: RunningServer, slow: Callable[[int], socket.socket]
) -> None:
    first = slow(600)
    answer = slow(600).recv(4096)
    assert answer.startswith(b"HTTP/1.1 503") and b"arriving slowly" in answer
    assert server.post(ROW).status == 200
    first.close()


def test_what_is_held_is_given_back() -> None:
    arriving = Arriving(10)
    arriving.hold(10)
    with pytest.raises(Refusal, match="arriving slowly"):
        arriving.hold(1)
    arriving.release(10)
    arriving.hold(10)


@pytest.mark.parametrize("rows", [[[1]] * LONG, [[1] * LONG], [1] * LONG], ids=["rows", "one long row", "flat"])
def test_more_numbers_than_all_rows_have_are_refused_before_they_are_read(
    rows: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InputReader(Tensor((-1, 1), "float32"), 1024)
    monkeypatch.setattr(reader, "_body", None)
    with pytest.raises(Refusal, match="at most 1024 rows"):
        reader.read(json.dumps({"inputs": rows}).encode())


@pytest.mark.parametrize(
    ("tensor", "texts"),
    [(Tensor((-1, -1), "float32"), ()), (Tensor((-1, 1), "object"), ())],
    ids=["rows of any size", "texts, which may have commas"],
)
def test_what_may_be_long_is_read(tensor: Tensor, texts: tuple[int, ...]) -> None:
    value = "a," * LONG if tensor.dtype == "object" else [1.0] * LONG
    row = [value] if tensor.dtype == "object" else value
    assert len(InputReader(tensor, 1024, texts).read(json.dumps({"inputs": [row]}).encode())) == 1


def test_as_many_rows_as_may_be_are_read() -> None:
    wide = Tensor((-1, 200), "float32")
    rows = [[0.123456789] * 200] * 1024
    assert InputReader(wide, 1024).read(json.dumps({"inputs": rows}).encode()).shape == (1024, 200)
