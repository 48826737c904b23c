"""Child processes of the host: started, relayed and ended together with it."""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

GRACE_SECONDS = 3.0
"""How long a child may take to end after SIGINT."""


class Children:
    """The processes that the host has running."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> int:
        """Run `command` to its end with the host's own stdout and stderr, which the engine shows; its exit code."""
        with self._tracked(subprocess.Popen(command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL)) as process:
            return process.wait()

    def stream(
        self,
        command: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        on_start: Callable[["subprocess.Popen[bytes]"], object] | None = None,
    ) -> Iterator[tuple[str, Any]]:
        """Run `command`; yield ("stdout" | "stderr", bytes) as it arrives and ("exitcode", number) at the end.

        `on_start` is called with the process. Closing the iterator ends it.
        """
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with self._tracked(process):
            if on_start is not None:
                on_start(process)
            yield from _relay(process)
            yield "exitcode", process.wait()

    def end_all(self) -> None:
        """Ask every child to end, then kill it."""
        with self._lock:
            running = list(self._running)
        for process in running:
            end(process)

    def _tracked(self, process: "subprocess.Popen[bytes]") -> "_Tracked":
        return _Tracked(process, self._running, self._lock)


class _Tracked:
    def __init__(
        self, process: "subprocess.Popen[bytes]", running: "set[subprocess.Popen[bytes]]", lock: threading.Lock
    ) -> None:
        self._process, self._running, self._lock = process, running, lock

    def __enter__(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            self._running.add(self._process)
        return self._process

    def __exit__(self, *_: object) -> None:
        end(self._process)
        with self._lock:
            self._running.discard(self._process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask `process` to end (SIGINT), kill it after the grace period."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _relay(process: "subprocess.Popen[bytes]") -> Iterator[tuple[str, bytes]]:
    chunks: queue.Queue[tuple[str, bytes] | None] = queue.Queue()

    def pump(name: str, pipe: IO[bytes]) -> None:
        # os.read returns what has arrived: the port number must not wait for a full buffer.
        while chunk := os.read(pipe.fileno(), 65536):
            chunks.put((name, chunk))
        chunks.put(None)

    assert process.stdout is not None and process.stderr is not None
    for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
        threading.Thread(target=pump, args=(name, pipe), daemon=True).start()
    for _ in range(2):
        while (item := chunks.get()) is not None:
            yield item
