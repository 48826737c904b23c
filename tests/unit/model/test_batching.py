"""Predictions in a thread, together with others, and not for ever."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.serving.batching import Prediction, predictor
from modelops_runtime.serving.http import Refusal
from modelops_runtime.serving.worker import Worker
from tests.unit.model.support import start_server


class Doubling:
    """Predicts 2x, notes how many rows came at a time, and waits for `go` before each."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def predict(self, inputs: Array) -> Array:
        self.go.wait(10)
        self.batches.append(len(inputs))
        if (inputs == -13).any():
            raise ValueError("thirteen")
        return inputs * 2


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def rows(*values: float) -> Array:
    return np.array([[value] for value in values], dtype="float32")


def test_requests_that_wait_are_predicted_together(executor: ThreadPoolExecutor) -> None:
    model = Doubling()
    model.go.clear()

    async def ask() -> list[Prediction]:
        predict = predictor(model, executor, batch_rows=8, seconds=10)
        tasks = [asyncio.ensure_future(predict(rows(number, number))) for number in range(6)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.05, model.go.set)
        return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert [answer[1].tolist() for answer in answers] == [[[2.0 * n]] * 2 for n in range(6)]
    assert sum(model.batches) == 12
    assert max(model.batches) == 8
    assert len(model.batches) < 6


def test_without_batching_each_request_is_predicted_by_itself(executor: ThreadPoolExecutor) -> None:
    model = Doubling()

    async def ask() -> None:
        predict = predictor(model, executor, batch_rows=0, seconds=10)
        await asyncio.gather(*(predict(rows(number)) for number in range(5)))

    asyncio.run(ask())
    assert model.batches == [1] * 5


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=30), most=st.integers(1, 32), threaded=st.booleans())
def test_however_requests_are_batched_each_gets_its_own_rows(sizes: list[int], most: int, threaded: bool) -> None:
    inputs = [rows(*(1000 * number + row for row in range(size))) for number, size in enumerate(sizes)]

    async def ask() -> list[Prediction]:
        with ThreadPoolExecutor(1) as executor:
            predict = predictor(Doubling(), executor if threaded else None, batch_rows=most, seconds=10)
            return await asyncio.gather(*map(predict, inputs))

    for given_rows, answer in zip(inputs, asyncio.run(ask()), strict=True):
        np.testing.assert_array_equal(answer[1], given_rows * 2)
        np.testing.assert_array_equal(answer[0], given_rows)


def test_what_fails_a_batch_fails_its_callers_and_no_later_ones() -> None:
    async def ask() -> list[object]:
        predict = predictor(Doubling(), None, batch_rows=2, seconds=10)
        return await asyncio.gather(*map(predict, [rows(1), rows(-13), rows(3)]), return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert isinstance(first, ValueError) and isinstance(second, ValueError)
    assert isinstance(third, tuple) and third[1].tolist() == [[6.0]]


@pytest.mark.parametrize("batch_rows", [0, 8])
def test_a_prediction_that_takes_too_long_is_given_up(executor: ThreadPoolExecutor, batch_rows: int) -> None:
    model = Doubling()
    model.go.clear()

    async def ask() -> None:
        predict = predictor(model, executor, batch_rows, seconds=0.05)
        started = time.monotonic()
        answers = await asyncio.gather(*(predict(rows(number)) for number in range(3)), return_exceptions=True)
        assert time.monotonic() - started < 5
        for answer in answers:
            assert isinstance(answer, Refusal)
            assert (answer.status, answer.rule, answer.headers) == (503, "max_seconds", {"retry_after": "1"})
        model.go.set()
        while True:  # the one that runs can't be stopped; those that waited are dropped
            try:
                assert (await predict(rows(4)))[1].tolist() == [[8.0]]
                return
            except Refusal:
                continue

    asyncio.run(ask())
    assert 2 <= sum(model.batches) <= 3 + 3


class Alone(Doubling):
    """Notes the thread of each prediction, and that none began while another ran."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []
        self._running = threading.Lock()

    def predict(self, inputs: Array) -> Array:
        assert self._running.acquire(blocking=False), "two predictions at a time"
        try:
            self.threads.append(threading.current_thread())
            return super().predict(inputs)
        finally:
            self._running.release()


def test_quick_requests_run_on_the_event_loop_unless_the_thread_predicts() -> None:
    model, worker = Alone(), Worker("predict")

    async def ask() -> None:
        predict = predictor(model, worker, 0, 0.05, is_quick=lambda inputs: len(inputs) < 2 and worker.idle)
        assert (await predict(rows(1)))[1].tolist() == [[2.0]]
        model.go.clear()
        with pytest.raises(Refusal):
            await predict(rows(1, 2))
        # Nobody waits for that one any more, and it still runs.
        waiting = [asyncio.ensure_future(predict(rows(number))) for number in (3, 4)]
        await asyncio.sleep(0.01)
        model.go.set()
        assert [answer[1].tolist() for answer in await asyncio.gather(*waiting)] == [[[6.0]], [[8.0]]]
        async with asyncio.timeout(10):
            while not worker.idle:
                await asyncio.sleep(0.001)
        await predict(rows(5))

    asyncio.run(ask())
    loop = threading.current_thread()
    assert [thread is loop for thread in model.threads] == [True, False, False, False, True]


def known_numbers(inputs: Array) -> Array:
    """Adds one, and knows no 7."""
    if (inputs == 7).any():
        raise Refusal(422, "inputs", "category", "7 is unknown")
    return inputs + 1


@pytest.mark.parametrize("threaded", [True, False])
def test_a_request_that_cannot_be_prepared_is_refused_alone(executor: ThreadPoolExecutor, threaded: bool) -> None:
    model = Doubling()

    async def ask() -> list[Prediction | BaseException]:
        predict = predictor(model, executor if threaded else None, 8, 10, known_numbers)
        return await asyncio.gather(*map(predict, map(rows, range(10))), return_exceptions=True)

    for number, answer in enumerate(asyncio.run(ask())):
        if number == 7:
            assert isinstance(answer, Refusal) and answer.rule == "category"
        else:
            assert isinstance(answer, tuple)
            assert (answer[0].tolist(), answer[1].tolist()) == ([[number + 1.0]], [[2 * (number + 1.0)]])
    assert max(model.batches) > 1


def test_batches_and_a_thread_of_its_own_change_no_answer(model_dir: Path, tmp_path: Path) -> None:
    with start_server(model_dir, tmp_path / "log", MODELOPS_BATCH_ROWS=8) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: server.post({"inputs": [[number], [1]]}).json(), range(100)))
        assert answers == [{"outputs": [2.0 * number + 1, 3.0]} for number in range(100)]
        refused = server.post({"inputs": [[3e38]]})
        assert (refused.status, refused.json()["error"]["rule"]) == (422, "finite")
