"""`python -m model.serve`: the serving container. Contract: docs/model.md."""

import asyncio

import uvloop

from model import contract
from model.contract import Environment, ServeContract
from model.serve.lifecycle import serve


def main() -> None:
    env = Environment()
    settings = ServeContract.read(env)
    env.check()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


if __name__ == "__main__":
    contract.run(main)
