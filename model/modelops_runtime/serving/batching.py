"""Where a prediction runs: on the event loop, in a thread, or in a batch with others that wait."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sized
from concurrent.futures import Executor
from itertools import accumulate
from typing import Generic, TypeVar

import numpy as np

from modelops_runtime.artifacts.runtimes import Array, Runtime
from modelops_runtime.serving.http import RETRY_AFTER_SECONDS, Refusal

A = TypeVar("A")
R = TypeVar("R")
Rows = TypeVar("Rows", bound=Sized)
Prediction = tuple[Array, Array]
"""A request's rows as the model took them, and what it predicted."""
Prepare = Callable[[Array], Array]
"""A client's rows as the model takes them. Raises Refusal."""
Predict = Callable[[Array], Awaitable[Prediction]]


def predictor(
    runtime: Runtime,
    executor: Executor | None,
    batch_rows: int,
    seconds: float,
    prepare: Prepare | None = None,
    is_quick: Callable[[Array], bool] | None = None,
) -> Predict:
    """Rows are prepared where they are predicted, by the same call: both can take long."""
    model = _Model(runtime, prepare)
    return scheduled(model.one, model.several, executor, batch_rows, seconds, is_quick)


def scheduled(
    one: Callable[[Rows], R],
    several: Callable[[list[Rows]], list[R | Exception]],
    executor: Executor | None,
    batch_rows: int,
    seconds: float,
    is_quick: Callable[[Rows], bool] | None = None,
) -> Callable[[Rows], Awaitable[R]]:
    """Without an executor on the event loop itself; `batch_rows` 0: each request by itself.

    With one, requests that `is_quick` says may run on the event loop do, unless they are batched: the way to a thread
    and back takes longer than they do. What takes longer than `seconds`, waiting included, is refused with 503. On the
    event loop nothing waits.
    """
    predict: Callable[[Rows], Awaitable[R]]
    if batch_rows:
        predict = Batches(_run(several, executor), batch_rows).predict
    else:
        predict = _run(one, executor)
    if executor is None:
        return predict
    bounded = _bounded(predict, seconds)
    return bounded if batch_rows or is_quick is None else _either(is_quick, _run(one, None), bounded)


def _either(
    is_first: Callable[[A], bool], first: Callable[[A], Awaitable[R]], second: Callable[[A], Awaitable[R]]
) -> Callable[[A], Awaitable[R]]:
    async def either(argument: A) -> R:
        return await (first if is_first(argument) else second)(argument)

    return either


def _run(function: Callable[[A], R], executor: Executor | None) -> Callable[[A], Awaitable[R]]:
    async def on_the_loop(argument: A) -> R:
        return function(argument)

    async def in_a_thread(argument: A) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, function, argument)

    return on_the_loop if executor is None else in_a_thread


def _bounded(predict: Callable[[A], Awaitable[R]], seconds: float) -> Callable[[A], Awaitable[R]]:
    async def bounded(inputs: A) -> R:
        try:
            async with asyncio.timeout(seconds):
                return await predict(inputs)
        except TimeoutError:
            message = f"the prediction took longer than {seconds:g} s"
            raise Refusal(503, "server", "max_seconds", message, retry_after=RETRY_AFTER_SECONDS) from None

    return bounded


class _Model:
    def __init__(self, runtime: Runtime, prepare: Prepare | None) -> None:
        self._runtime = runtime
        self._prepare = prepare

    def one(self, inputs: Array) -> Prediction:
        if self._prepare is not None:
            inputs = self._prepare(inputs)
        return inputs, self._runtime.predict(inputs)

    def several(self, requests: list[Array]) -> list[Prediction | Exception]:
        """By one call of the model. A request that can't be prepared fails alone; an error of the model fails all."""
        if self._prepare is None:
            return [*self._predicted(requests)]
        prepared = [self._prepared(inputs, self._prepare) for inputs in requests]
        rows = [inputs for inputs in prepared if not isinstance(inputs, Exception)]
        predicted = iter(self._predicted(rows) if rows else ())
        return [inputs if isinstance(inputs, Exception) else next(predicted) for inputs in prepared]

    def _predicted(self, requests: list[Array]) -> list[Prediction]:
        if len(requests) == 1:
            return [(requests[0], self._runtime.predict(requests[0]))]
        outputs = self._runtime.predict(np.concatenate(requests))
        ends = accumulate(map(len, requests))
        return [(inputs, outputs[end - len(inputs) : end]) for inputs, end in zip(requests, ends, strict=True)]

    @staticmethod
    def _prepared(inputs: Array, prepare: Prepare) -> Array | Exception:
        try:
            return prepare(inputs)
        except Exception as error:
            return error


class Batches(Generic[Rows, R]):
    """Requests that come while a prediction runs are predicted together, as soon as it ends.

    No request waits for a batch to fill: the busier the model, the larger the batches; an idle one answers at once.
    """

    def __init__(self, run: Callable[[list[Rows]], Awaitable[list[R | Exception]]], rows: int) -> None:
        self._run = run
        self._rows = rows
        self._waiting: deque[tuple[Rows, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def predict(self, inputs: Rows) -> R:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
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

    def _next(self) -> list[tuple[Rows, "asyncio.Future[R]"]]:
        """As many of the waiting as fit, in their order; those that gave up are dropped."""
        batch: list[tuple[Rows, asyncio.Future[R]]] = []
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

    async def _answer(self, batch: list[tuple[Rows, "asyncio.Future[R]"]]) -> None:
        results: list[R | Exception]
        try:
            results = await self._run([inputs for inputs, _future in batch])
        except Exception as error:  # each caller gets it, and the next batch is another one
            results = [error] * len(batch)
        for (_inputs, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
