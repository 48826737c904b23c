"""`modelops-serve`: the serving container. Contract: docs/model.md."""

import asyncio

import uvloop

from modelops_runtime.contract import Environment, ServeContract
from modelops_runtime.serving.lifecycle import serve


def main() -> None:
    env = Environment()
    settings = ServeContract.read(env)
    env.check()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
