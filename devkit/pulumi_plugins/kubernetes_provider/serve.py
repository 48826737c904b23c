"""The plugin's server: prints its port, serves, and exits quietly when told to."""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from .servicer import KubernetesProvider

MAX_CALLS = 512
"""Calls served at once. A wait holds a thread, and must not block other calls."""

ENGINE_CHECK_SECONDS = 2
"""How often to check that the engine that started the plugin still runs: a killed engine stops no plugins."""


def main(argv: list[str]) -> int:
    """Serve until SIGINT, SIGTERM or the engine's end. `argv` is what the engine passes: options, then its address."""
    engine = os.getppid()
    positional = [argument for argument in argv if not argument.startswith("-")]
    ended = threading.Event()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        ended.set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    server = grpc.server(ThreadPoolExecutor(max_workers=MAX_CALLS), options=_GRPC_CHANNEL_OPTIONS)
    servicer = KubernetesProvider(positional[-1] if positional else "")
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while not ended.wait(ENGINE_CHECK_SECONDS) and os.getppid() == engine:
        pass
    server.stop(grace=None)
    # Calls that are still waiting must not keep the process alive.
    os._exit(0)
