"""Where a prediction runs: on the event loop, in a thread, or in a batch with others that wait."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import numpy as np

from modelops_runtime.artifacts.runtimes import Array, Runtime
from modelops_runtime.serving.http import Refusal

Predict = Callable[[Array], Awaitable[Array]]


def predictor(runtime: Runtime, executor: Executor | None, batch_rows: int, seconds: float) -> Predict:
    """Without an executor on the event loop itself; `batch_rows` 0: each request by itself.

    What takes longer than `seconds`, waiting included, is refused with 503. On the event loop nothing waits.
    """
    run = _on_the_loop(runtime) if executor is None else _in_a_thread(runtime, executor)
    predict = Batches(run, batch_rows).predict if batch_rows else run
    return predict if executor is None else _bounded(predict, seconds)


def _on_the_loop(runtime: Runtime) -> Predict:
    async def predict(inputs: Array) -> Array:
        return runtime.predict(inputs)

    return predict


def _in_a_thread(runtime: Runtime, executor: Executor) -> Predict:
    async def predict(inputs: Array) -> Array:
        return await asyncio.get_running_loop().run_in_executor(executor, runtime.predict, inputs)

    return predict


def _bounded(predict: Predict, seconds: float) -> Predict:
    async def bounded(inputs: Array) -> Array:
        try:
            async with asyncio.timeout(seconds):
                return await predict(inputs)
        except TimeoutError:
            message = f"the prediction took longer than {seconds:g} s"
            raise Refusal(503, "server", "max_seconds", message, retry_after="1") from None

    return bounded


class Batches:
    """Requests that come while a prediction runs are predicted together, as soon as it ends.

    No request waits for a batch to fill: the busier the model, the larger the batches; an idle one answers at once.
    """

    def __init__(self, run: Predict, rows: int) -> None:
        self._run = run
        self._rows = rows
        self._waiting: deque[tuple[Array, asyncio.Future[Array]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def predict(self, inputs: Array) -> Array:
        future: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        self._waiting.append((inputs, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                if batch:
                    await self._answer(batch)
        finally:
            self._task = None

    def _next(self) -> list[tuple[Array, "asyncio.Future[Array]"]]:
        """As many of the waiting as fit, in their order; those that gave up are dropped."""
        batch: list[tuple[Array, asyncio.Future[Array]]] = []
        rows = 0
        while self._waiting:
            inputs, future = self._waiting[0]
            if batch and rows + len(inputs) > self._rows:
                break
            self._waiting.popleft()
            if not future.done():
                batch.append((inputs, future))
                rows += len(inputs)
        return batch

    async def _answer(self, batch: list[tuple[Array, "asyncio.Future[Array]"]]) -> None:
        try:
            inputs = batch[0][0] if len(batch) == 1 else np.concatenate([inputs for inputs, _future in batch])
            outputs = await self._run(inputs)
        except Exception as error:  # each caller gets it, and the next batch is another one
            for _inputs, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for inputs, future in batch:
            end = start + len(inputs)
            if not future.done():
                future.set_result(outputs[start:end])
            start = end
