"""JSON log lines on stdout: one a request, and one for each thing that happens to the server."""

import asyncio
import sys
import time

import msgspec

LONGEST_INPUTS = 4096
"""Bytes of a request's body that are logged with MODELOPS_LOG_INPUTS."""
FLUSH_SECONDS = 0.02
"""How long a request's line waits for others. A server that is killed loses what waits."""
_encode = msgspec.json.Encoder().encode


class Log:
    """Every line has `ts`, `level` and `event`, and the model and its version as soon as they are known."""

    def __init__(self, model_version: str) -> None:
        self.model = ""
        self.model_version = model_version
        self._out = sys.stdout.buffer
        self._waiting: list[bytes] = []
        self._second = 0
        self._stamp = ""

    def request(
        self,
        request_id: str,
        method: str,
        path: str,
        status: int,
        seconds: float,
        inputs: bytes | None = None,
        trace_id: str = "",
    ) -> None:
        """Query strings are never logged, inputs only where they are given here.

        The line goes out with the others of the same moment, by one system call.
        """
        line: dict[str, object] = {
            "ts": self._now(),
            "level": "error" if status >= 500 else "info",
            "event": "request",
            "request_id": request_id,
            "method": method,
            "path": path[:256],
            "status": status,
            "latency_ms": round(seconds * 1000, 3),
            "model": self.model,
            "model_version": self.model_version,
        }
        if trace_id:
            line["trace_id"] = trace_id
        if inputs is not None:
            line["inputs"] = inputs[:LONGEST_INPUTS].decode(errors="replace")
        if not self._waiting:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._waiting.append(_encode(line))

    def event(self, event: str, *, level: str = "info", **fields: object) -> None:
        line = {"ts": self._now(), "level": level, "event": event}
        self._waiting.append(_encode({**line, "model": self.model, "model_version": self.model_version, **fields}))
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._out.write(b"\n".join(self._waiting) + b"\n")
            self._waiting.clear()
            self._out.flush()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:  # spelling a date costs more than the rest of the line
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"
