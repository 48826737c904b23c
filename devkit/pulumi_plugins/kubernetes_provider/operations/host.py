"""Messages to the engine, shown beside the resource they are about."""

import threading
from contextlib import suppress

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class Host:
    """The engine that runs this plugin."""

    def __init__(self, address: str) -> None:
        self._stub = None
        self._lock = threading.Lock()
        self._last_status: dict[str, str] = {}
        if address:
            channel = grpc.insecure_channel(address, options=_GRPC_CHANNEL_OPTIONS)
            self._stub = engine_pb2_grpc.EngineStub(channel)

    def warn(self, urn: str, message: str) -> None:
        """A warning that stays in the operation's output."""
        self._log(engine_pb2.WARNING, urn, message)

    def info(self, urn: str, message: str) -> None:
        """A note that stays in the operation's output."""
        self._log(engine_pb2.INFO, urn, message)

    def status(self, urn: str, message: str) -> None:
        """The current activity, shown in the progress line; a repeated message is not sent again."""
        with self._lock:
            if self._last_status.get(urn, "") == message:
                return
            self._last_status[urn] = message
        self._log(engine_pb2.INFO, urn, message, ephemeral=True)

    def status_warning(self, urn: str, message: str) -> None:
        """A warning about the current activity, shown in the progress line."""
        self._log(engine_pb2.WARNING, urn, message, ephemeral=True)

    def _log(
        self, severity: "engine_pb2.LogSeverity.ValueType", urn: str, message: str, *, ephemeral: bool = False
    ) -> None:
        if self._stub is None:
            return
        # A message that can't be delivered must not fail the operation it is about.
        with suppress(grpc.RpcError):
            self._stub.Log(
                engine_pb2.LogRequest(severity=severity, urn=urn, message=message, ephemeral=ephemeral), timeout=10
            )
