"""The load that other tests put on a server: were it blind to failures, those tests would prove nothing."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.load import INPUTS, load, send_requests


class Server(ThreadingHTTPServer):
    """Answers with the statuses in turn; instead of a 0 it hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: Iterator[int] = itertools.repeat(200)
        self.connections = 0
        self.url = f"http://127.0.0.1:{self.server_port}/api/predict"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = next(self.server.statuses)
        if status == 0:
            self.close_connection = True
            return
        content = b'{"outputs": [2.0]}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_answers_errors_and_broken_connections_are_counted_apart(server: Server) -> None:
    server.statuses = itertools.cycle([200, 500, 0])
    result = send_requests(server.url, 30, callers=1)
    assert Counter(failure.status for failure in result.failed) == {500: 10, None: 10}
    assert (result.answered, result.outputs, result.total) == (10, {2.0}, 30)


def test_a_share_counts_predictions_by_input_and_output(server: Server) -> None:
    result = send_requests(server.url, len(INPUTS))
    assert (result.share((0.5, 2.0)), result.share((0.25, 2.0), (0.75, 2.0)), result.share((0.5, 9.0))) == (60, 40, 0)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_caller_keeps_its_connection_or_opens_a_new_one_each_time(server: Server, kept: int) -> None:
    with load(server.url, callers=1, kept=kept, pause_seconds=0) as result:
        time.sleep(0.5)
    assert result.answered > 1 and not result.failed
    assert server.connections == (1 if kept else result.answered)


def test_a_connection_that_breaks_under_a_kept_caller_is_a_failure_and_is_opened_again(server: Server) -> None:
    server.statuses = itertools.chain([200, 0], itertools.repeat(200))
    with load(server.url, callers=1, kept=1, pause_seconds=0) as result:
        time.sleep(0.5)
    assert [failure.status for failure in result.failed] == [None] and server.connections == 2
