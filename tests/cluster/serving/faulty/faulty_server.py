"""The server, but one input goes wrong once the model was loaded and found right: 0.25 fails, or 0.75 takes long."""

import asyncio
import os
import time

import uvloop

from modelops_runtime.artifacts import runtimes
from modelops_runtime.contract import Environment, ServeContract

BAD_INPUT, SLOW_INPUT, SLOW_SECONDS = 0.25, 0.75, 1.2
_load = runtimes.load


class Faulty:
    def __init__(self, runtime):
        self._runtime = runtime

    def predict(self, inputs):
        fault = os.environ["MODELOPS_TEST_FAULT"]
        if fault == "errors" and (inputs == BAD_INPUT).any():
            raise RuntimeError("a fault, for the test")
        if fault == "slow" and (inputs == SLOW_INPUT).any():
            time.sleep(SLOW_SECONDS)
        return self._runtime.predict(inputs)


runtimes.load = lambda *arguments: Faulty(_load(*arguments))

from modelops_runtime.serving.lifecycle import serve  # noqa: E402


def main():
    env = Environment()
    settings = ServeContract.read(env)
    env.check()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
