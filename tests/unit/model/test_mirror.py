"""Copies for a shadow: sent on, bounded, and never in the way."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from modelops_runtime.serving import mirror
from modelops_runtime.serving.mirror import Mirror
from tests.models import write_model
from tests.unit.model.support import start_server

BODY = b'{"inputs": [[0.5]]}'
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Shadow:
    """A server that keeps what it got and answers as it is told."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", wait: float = 0) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.connections = 0
        self._answer, self._wait = answer, wait

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.got.append((head, await reader.readexactly(length)))
                await asyncio.sleep(self._wait)
                writer.write(self._answer)
                if b"Content-Length" not in self._answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


def mirrored(shadow: Shadow, offers: int, percent: float = 100, done: int | None = None) -> Mirror:
    """Offers requests to a mirror of `shadow` and waits until `done` of them came to an end."""

    async def go() -> Mirror:
        server = await asyncio.start_server(shadow.serve, "127.0.0.1", 0)
        made = Mirror(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", percent)
        made.start()
        for _ in range(offers):
            made.offer("/api/predict", BODY)
        await _until(lambda: sum(made.results.values()) >= (offers if done is None else done))
        await made.stop()
        server.close()
        return made

    return asyncio.run(go())


def test_every_request_reaches_the_shadow_as_it_was() -> None:
    shadow = Shadow()
    made = mirrored(shadow, 20)
    assert made.results == {"answered": 20, "refused": 0, "failed": 0, "dropped": 0}
    assert {body for _, body in shadow.got} == {BODY}
    assert {head.split("\r\n")[0] for head, _ in shadow.got} == {"POST /api/predict HTTP/1.1"}
    assert shadow.connections <= mirror.CONNECTIONS


@pytest.mark.parametrize("percent", [1, 10, 33.3, 50, 100])
def test_the_share_is_kept(percent: float) -> None:
    expected = int(60 * percent / 100)
    assert len(mirrored(Shadow(), 60, percent, done=expected).results) and expected <= 60
    shadow = Shadow()
    mirrored(shadow, 60, percent, done=expected)
    assert abs(len(shadow.got) - 60 * percent / 100) <= 1


def test_refusals_and_failures_are_counted_and_thrown_away() -> None:
    refused = Shadow(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert mirrored(refused, 3).results["refused"] == 3
    assert mirrored(Shadow(b"nonsense\r\n\r\n"), 3).results["failed"] == 3


def test_an_absent_shadow_harms_nobody() -> None:
    async def go() -> Mirror:
        made = Mirror("http://127.0.0.1:9")
        made.start()
        for _ in range(10):
            made.offer("/api/predict", BODY)
        await _until(lambda: made.results["failed"] == 10)
        await made.stop()
        return made

    assert asyncio.run(go()).results["dropped"] == 0


def test_what_does_not_fit_is_dropped_at_once() -> None:
    made = Mirror("http://127.0.0.1:9")
    for _ in range(mirror.QUEUE_REQUESTS + 5):
        made.offer("/api/predict", BODY)
    assert made.results["dropped"] == 5
    large = Mirror("http://127.0.0.1:9")
    for _ in range(5):
        large.offer("/api/predict", b"x" * 2**20)
    assert large.results["dropped"] == 1


def test_a_slow_shadow_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    assert mirrored(Shadow(wait=5), 2).results["failed"] == 2


def test_an_answer_without_a_length_ends_its_connection() -> None:
    shadow = Shadow(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert mirrored(shadow, 6).results["answered"] == 6
    assert shadow.connections == 6


def test_a_connection_that_the_shadow_closed_while_it_was_idle_costs_no_copy() -> None:
    shadow = Shadow()
    open_connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.append(writer)
        await shadow.serve(reader, writer)

    async def go() -> Mirror:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        made = Mirror(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        made.start()
        for batch in range(3):
            for _ in range(mirror.CONNECTIONS):
                made.offer("/api/predict", BODY)
            await _until(lambda: sum(made.results.values()) == (batch + 1) * mirror.CONNECTIONS)  # noqa: B023
            for writer in open_connections:
                writer.close()
            await asyncio.sleep(0.01)
        await made.stop()
        server.close()
        return made

    assert asyncio.run(go()).results == {"answered": 12, "refused": 0, "failed": 0, "dropped": 0}


def test_the_shadow_gets_the_headers_that_a_body_needs(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    inputs = [{"name": "input", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    with (
        start_server(tmp_path / "model", tmp_path / "shadow.log") as shadow,
        start_server(
            tmp_path / "model", tmp_path / "log", MODELOPS_MIRROR_URL=f"http://127.0.0.1:{shadow.port}"
        ) as server,
    ):
        answer = server.ask("POST", "/v2/models/line/infer", text + b"\x00\x00\x00\x3f", headers)
        assert answer.json()["outputs"][0]["data"] == [2.0]
        assert shadow.requests(1)[0]["status"] == 200


def test_results_are_metrics() -> None:
    samples = [sample for family in Mirror("http://s").collect() for sample in family.samples]
    assert {(sample.name, sample.labels["result"]) for sample in samples} == {
        ("modelops_mirrored_total", result) for result in ("answered", "refused", "failed", "dropped")
    }


def test_a_server_mirrors_what_it_answered_and_clients_see_only_its_own_answers(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    write_model(tmp_path / "other", weights=((-2.0,),))
    with (
        start_server(tmp_path / "other", tmp_path / "shadow.log") as shadow,
        start_server(
            tmp_path / "model", tmp_path / "log", MODELOPS_MIRROR_URL=f"http://127.0.0.1:{shadow.port}"
        ) as server,
    ):
        assert {str(server.post({"inputs": [[0.5]]}).json()) for _ in range(20)} == {"{'outputs': [2.0]}"}
        assert server.post({"inputs": "bad"}).status == 422
        deadline = time.monotonic() + 10
        while server.metrics()['modelops_mirrored_total{result="answered"}'] < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shadow.metrics()['modelops_requests_total{code="200",path="/api/predict"}'] == 20


def test_a_dead_shadow_costs_no_answer(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    with start_server(tmp_path / "model", tmp_path / "log", MODELOPS_MIRROR_URL="http://127.0.0.1:9") as server:
        assert {server.post({"inputs": [[0.5]]}).status for _ in range(50)} == {200}
        assert server.terminate() == 0
