"""JSON log lines on stdout: one a request, and one for each thing that happens to the server."""

import sys
from datetime import UTC, datetime

import msgspec

_encoder = msgspec.json.Encoder()


class Log:
    """Every line has `ts`, `level` and `event`, and the model and its version as soon as they are known."""

    def __init__(self, model_version: str) -> None:
        self.model = ""
        self.model_version = model_version
        self._write = sys.stdout.buffer.write
        self._flush = sys.stdout.buffer.flush

    def request(self, request_id: str, method: str, path: str, status: int, seconds: float) -> None:
        """Inputs and query strings are never logged."""
        self._line(
            {
                "ts": _now(),
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
        )

    def event(self, event: str, *, level: str = "info", **fields: object) -> None:
        line = {"ts": _now(), "level": level, "event": event}
        self._line({**line, "model": self.model, "model_version": self.model_version, **fields})

    def _line(self, fields: dict[str, object]) -> None:
        self._write(_encoder.encode(fields) + b"\n")
        self._flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
