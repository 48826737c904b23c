"""The workers of one training: they meet, know when one is lost, and end together.

A star of TCP connections around worker 0 (the chief), the same for every framework. Frameworks differ in what they do
when a worker vanishes, from an error at once to waiting for ever; here the kernel closes a dead worker's connections, a
vanished machine stops answering pings, and every survivor leaves with the exit code that means so.
"""

import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.training.stop import Stop

MEETING_SECONDS = 600.0
"""How long workers wait for each other: images may still have to be pulled."""
PING_SECONDS = 2.0
PATIENCE_SECONDS = 20.0
"""A worker that is silent for this long is lost."""
VERDICT_SECONDS = 10.0
"""How long a worker whose framework failed waits to hear that another worker is the cause."""
_HEAD = struct.Struct("!cQ")
_HELLO, _WELCOME, _PING, _REPORT, _STOP, _DONE = b"H", b"W", b"P", b"R", b"S", b"D"


class _Link:
    """One connection; frames of a kind and a payload."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._lock = threading.Lock()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        with self._lock:
            self.connection.sendall(_HEAD.pack(kind, len(payload)) + payload)

    def receive(self) -> tuple[bytes, bytes]:
        kind, size = _HEAD.unpack(self._exactly(_HEAD.size))
        return kind, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self.connection.recv(min(size, 1 << 20))
            if not part:
                raise ConnectionError("the connection was closed")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self.connection.close()


@dataclass
class Peers:
    """The workers of run `run_id` as worker `index` of `count` sees them. Alone, no method waits."""

    run_id: str
    count: int
    index: int
    chief_host: str
    port: int
    stop: Stop
    meeting_seconds: float = MEETING_SECONDS
    addresses: list[str] = field(default_factory=list)
    """The address of each worker by index, after they met. Names may still lead to the pods of an earlier try."""
    stopping: int | None = None
    """The worker that has to stop, as reported to the chief."""
    _links: dict[int, _Link] = field(default_factory=dict)
    _reports: dict[int, "queue.Queue[bytes]"] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _announced: bool = False

    def meet(self, gift: bytes = b"") -> bytes:
        """Waits for all workers. The chief's `gift` (its checkpoint) reaches all and is returned.

        Raises ContractError (exit 75) when a worker does not come.
        """
        if self.count == 1:
            self.addresses = ["127.0.0.1"]
            return gift
        deadline = time.monotonic() + self.meeting_seconds
        gift = self._welcome(gift, deadline) if self.index == 0 else self._come(deadline)
        for worker, link in self._links.items():
            self._reports[worker] = queue.Queue()
            threading.Thread(target=self._listen, args=(worker, link), daemon=True).start()
        threading.Thread(target=self._ping, daemon=True).start()
        return gift

    def _welcome(self, gift: bytes, deadline: float) -> bytes:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        addresses = [""] * self.count
        with socket.create_server(("", self.port), family=family, dualstack_ipv6=dual, backlog=self.count) as server:
            while len(self._links) < self.count - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    link = _Link(server.accept()[0])
                except TimeoutError:
                    missing = [str(n) for n in range(1, self.count) if n not in self._links]
                    raise ContractError(
                        f"worker {', '.join(missing)} of {self.count} did not come within {self.meeting_seconds:g} s",
                        code=Exit.PEER_LOST,
                    ) from None
                worker = self._greeted(link)
                if worker is None:
                    link.close()
                    continue
                if worker in self._links:  # it was restarted before we began
                    self._links[worker].close()
                self._links[worker] = link
                addresses[0], addresses[worker] = (
                    _address(link.connection.getsockname()),
                    _address(link.connection.getpeername()),
                )
        self.addresses = addresses
        head = json.dumps(addresses).encode()
        for worker, link in self._links.items():
            try:
                link.send(_WELCOME, struct.pack("!I", len(head)) + head + gift)
            except OSError as error:
                raise ContractError(f"worker {worker} left while all met: {error}", code=Exit.PEER_LOST) from None
        return gift

    def _greeted(self, link: _Link) -> int | None:
        """The index of the worker that called; None when it is none of ours."""
        try:
            kind, payload = link.receive()
            hello = json.loads(payload)
            ours = kind == _HELLO and hello["run_id"] == self.run_id and 0 < hello["index"] < self.count
            return int(hello["index"]) if ours else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _come(self, deadline: float) -> bytes:
        while True:
            try:
                link = _Link(socket.create_connection((self.chief_host, self.port), timeout=5))
                link.send(_HELLO, json.dumps({"run_id": self.run_id, "index": self.index}).encode())
                link.connection.settimeout(max(1, deadline - time.monotonic()))
                _kind, payload = link.receive()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ContractError(
                        f"worker 0 ({self.chief_host}:{self.port}) did not answer within"
                        f" {self.meeting_seconds:g} s: {error}",
                        code=Exit.PEER_LOST,
                    ) from None
                time.sleep(0.5)
        link.connection.settimeout(PATIENCE_SECONDS)
        self._links[0] = link
        (size,) = struct.unpack_from("!I", payload)
        self.addresses = json.loads(payload[4 : 4 + size])
        return payload[4 + size :]

    def _listen(self, worker: int, link: _Link) -> None:
        while not self._over.is_set():
            try:
                kind, payload = link.receive()
            except OSError as error:
                self._lost(worker, error)
                return
            if kind == _REPORT:
                self._reports[worker].put(payload)
            elif kind == _STOP:
                self.stopping = worker
            elif kind == _DONE:
                self._over.set()

    def _ping(self) -> None:
        while not self._over.wait(PING_SECONDS):
            for worker, link in list(self._links.items()):
                try:
                    link.send(_PING)
                except OSError as error:
                    self._lost(worker, error)

    def _lost(self, worker: int, error: OSError) -> None:
        """Ends this process: its main thread may be deep inside a framework that waits for the lost worker."""
        if self._over.is_set():
            return
        self._over.set()
        code = Exit.TERMINATED if self.stop.requested else Exit.PEER_LOST
        reason = "does not answer" if isinstance(error, TimeoutError) else "is gone"
        print(f"error: worker {worker} {reason}; going on from the last checkpoint", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(code)

    def gather(self, report: bytes) -> list[bytes]:
        """The reports of all workers by index, for the chief; the others get nothing, and need not wait."""
        if self.index > 0:
            self._links[0].send(_REPORT, report)
            return []
        return [report, *(self._reports[worker].get() for worker in range(1, self.count))]

    def announce_stop(self) -> None:
        """Reports to the chief that this worker has to stop, so that a checkpoint is kept for all."""
        if self.index > 0 and not self._announced:
            self._announced = True
            self._links[0].send(_STOP)

    def finish(self) -> None:
        """The chief has left the results: all may go. Until then the others wait, to be there if it fails."""
        if self.count == 1:
            return
        if self.index > 0:
            self._over.wait()
            return
        self._over.set()
        for link in self._links.values():
            link.send(_DONE)

    def wait_for_verdict(self) -> None:
        """After an error in the framework: if a lost worker is the cause, the process ends here with that code."""
        if self.count > 1 and self._links:
            time.sleep(VERDICT_SECONDS)

    def leave(self) -> None:
        """This worker fails by itself: the others will see it go, and its own exit code stands."""
        self._over.set()


def _address(name: tuple[str, ...]) -> str:
    return str(name[0]).removeprefix("::ffff:")
