"""A model server under clients who mean harm: it goes on answering the others, in time and within its memory."""

import contextlib
import http.client
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.models import write_model
from tests.security.attacks import ATTACKS, IDLE
from tests.unit.model.support import RunningServer, start_server

pytestmark = pytest.mark.long

ROUNDS = 3
REQUESTS = 400
"""In a round, without and with the attack."""
SLOWER = 2.0
"""How many times a healthy client's 99th percentile may grow."""
LEAST_SECONDS = 0.01
"""Below that it may be more: the attacker and the client themselves need the two cores that the server has."""
MORE_BYTES = 200 * 2**20
"""Memory that an attack may take; 10,000 connections have a buffer each."""
BODY = b'{"inputs": [[0.5]]}'


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    """As many open files as the connections need, as a pod has them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * IDLE), max(before[1], 2 * IDLE)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    write_model(folder / "model")
    with start_server(folder / "model", folder / "log") as running:
        percentile(running)
        yield running


@contextlib.contextmanager
def attack(kind: str, server: RunningServer) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.security.attacks", kind, str(server.port)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "attacking\n"
        try:
            yield
        finally:
            process.stdin.close()


def percentile(server: RunningServer) -> float:
    """The 99th percentile of a healthy client's seconds for an answer; every answer must be right."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    seconds = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", "/api/predict", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, b"outputs" in answer.read()) == (200, True)
        seconds.append(time.perf_counter() - began)
    connection.close()
    return statistics.quantiles(seconds, n=100)[98]


def memory(server: RunningServer) -> int:
    """Bytes of the process that are in memory."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_healthy_client_hardly_notices(kind: str, server: RunningServer, figure: Callable[[str], None]) -> None:
    before, alone, beside, most = memory(server), [], [], 0
    for _ in range(ROUNDS):
        alone.append(percentile(server))
        with attack(kind, server):
            beside.append(percentile(server))
            most = max(most, memory(server))
    quiet, attacked = statistics.median(alone), statistics.median(beside)
    figure(
        f"{kind}: 99th percentile {1000 * quiet:.1f} ms alone, {1000 * attacked:.1f} ms beside it; "
        f"{(most - before) / 2**20:+.0f} MiB"
    )
    assert server.process.poll() is None
    assert attacked <= max(SLOWER * quiet, LEAST_SECONDS)
    assert most - before <= MORE_BYTES
