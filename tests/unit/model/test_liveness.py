"""A prediction that hangs, one that takes long, and preprocessing that does: probes are answered meanwhile."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.artifacts.runtimes import Array, Preprocessed
from modelops_runtime.contract import Environment, ServeContract
from modelops_runtime.serving import worker as serving
from modelops_runtime.serving.manifest_model import ManifestModel
from modelops_runtime.serving.worker import Worker
from tests.unit.model.support import MANIFEST, ask, served, start_server

HANGING = """
import sys, threading
from modelops_runtime.artifacts.runtimes import LiteRuntime
from modelops_runtime.serving import lifecycle, manifest_model, serve, worker

worker.STUCK_SECONDS = 0.3
manifest_model.INLINE_SECONDS, manifest_model.QUICK_SECONDS = -1, 0
predict = LiteRuntime.predict

def hang(self, inputs):
    if (inputs == -13).any():
        threading.Event().wait()
    return predict(self, inputs)

LiteRuntime.predict = hang
if "load" in sys.argv:
    lifecycle.load_model = lambda *_: threading.Event().wait()
serve.main()
"""


class Waiting:
    """Predicts what it is given, as soon as it may."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()

    def predict(self, inputs: Array) -> Array:
        self.begun.set()
        self.go.wait(20)
        return inputs


@pytest.fixture
def model() -> Iterator[Waiting]:
    made = Waiting()
    yield made
    made.go.set()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)


def test_a_prediction_that_does_not_end_is_noticed_and_one_that_ends_is_forgiven(
    model: Waiting, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "STUCK_SECONDS", 0.2)

    async def go() -> None:
        app = served(model, MODELOPS_PREDICT_SECONDS=0.05)
        given_up = await ask(app, "POST", "/api/predict", b'{"inputs": [[1]]}')
        assert given_up.json()["error"]["rule"] == "max_seconds"
        assert (await ask(app, "GET", "/healthz/live")).status == 200
        await asyncio.sleep(0.3)
        for path in ("/healthz/live", "/v2/health/live"):
            stuck = await ask(app, "GET", path)
            assert (stuck.status, stuck.headers["retry-after"]) == (503, "1")
            assert "a prediction has been running for 0 s" in str(stuck.json()["error"])
        model.go.set()
        await asyncio.sleep(0.1)
        assert (await ask(app, "GET", "/healthz/live")).status == 200
        assert (await ask(app, "POST", "/api/predict", b'{"inputs": [[1]]}')).json() == {"outputs": [1.0]}

    asyncio.run(go())
    stuck = [line for line in map(json.loads, capfd.readouterr().out.splitlines()) if line["event"] == "stuck"]
    assert [line["level"] for line in stuck] == ["error"] * 2


def test_a_long_batch_is_not_stuck(model: Waiting) -> None:
    """Not before a minute, nor before twice the time that a prediction may take."""
    service = ManifestModel(MANIFEST, model, ServeContract.read(Environment({})), inline_rows=0)
    patient = ServeContract.read(Environment({"MODELOPS_PREDICT_SECONDS": "600"}))
    assert service.stuck_seconds == 60
    assert ManifestModel(MANIFEST, model, patient, inline_rows=0).stuck_seconds == 1200


class Columns(Preprocessing):
    """Is told when to end by whoever waits for the event loop."""

    begun = threading.Event()
    go = threading.Event()

    def transform(self, rows: Array) -> Array:
        self.begun.set()
        assert self.go.wait(10), "nobody else was answered meanwhile"
        return rows.astype("float32")


@pytest.mark.parametrize("batch_rows", [0, 8])
def test_probes_are_answered_while_rows_are_prepared(model: Waiting, batch_rows: int) -> None:
    model.go.set()
    Columns.begun.clear()
    Columns.go.clear()

    async def go() -> None:
        app = served(Preprocessed(model, Columns(("a",), ("a",), ())), MODELOPS_BATCH_ROWS=batch_rows)
        asked = asyncio.create_task(ask(app, "POST", "/api/predict", b'{"inputs": [[3]]}'))
        await until(Columns.begun.is_set)
        assert (await ask(app, "GET", "/healthz/live")).status == 200
        Columns.go.set()
        assert (await asked).json() == {"outputs": [3.0]}

    asyncio.run(go())


def test_a_stuck_server_is_noticed_and_ends_when_it_is_told_to(model_dir: Path, tmp_path: Path) -> None:
    settings = {"program": ("-c", HANGING), "MODELOPS_PREDICT_SECONDS": 0.1}
    with start_server(model_dir, tmp_path / "log", **settings) as server:  # type: ignore[arg-type]
        assert server.post({"inputs": [[0.5]]}).json() == {"outputs": [2.0]}
        assert server.post({"inputs": [[-13]]}).status == 503
        assert server.ask("GET", "/healthz/live").status == 200
        time.sleep(0.4)
        assert server.ask("GET", "/healthz/live").status == 503
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < 5


def test_a_server_that_still_loads_ends_when_it_is_told_to(model_dir: Path, tmp_path: Path) -> None:
    program = ("-c", HANGING, "load")
    with start_server(model_dir, tmp_path / "log", program=program, wait_for="listening") as server:
        assert server.ask("GET", "/healthz/live").status == 200
        assert server.ask("GET", "/healthz/ready").status == 503
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < 5
        assert [line["event"] for line in server.log() if line["event"] != "request"] == ["listening", "stopped"]


def test_a_worker_makes_one_call_at_a_time_and_knows_for_how_long() -> None:
    worker, go = Worker("test"), threading.Event()
    assert worker.busy_seconds() == 0
    first = worker.submit(go.wait, 10)
    second = worker.submit(np.square, 3)
    third = worker.submit(int, "x")
    dropped = worker.submit(np.square, 4)
    time.sleep(0.05)
    assert worker.busy_seconds() >= 0.04
    assert dropped.cancel() and not second.done()
    go.set()
    assert (first.result(10), second.result(10)) == (True, 9)
    assert isinstance(third.exception(10), ValueError)
    worker.shutdown()
    assert worker.busy_seconds() == 0
