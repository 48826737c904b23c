"""The host's server: prints its port, serves, and exits quietly when told to."""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2_grpc

from .processes import Children
from .servicer import LanguageHost

MAX_CALLS = 128
"""Calls served at once. Each running program or plugin holds one for its whole life."""


def _engine_address(argv: list[str]) -> str:
    positional = [argument for argument in argv if not argument.startswith("-")]
    return positional[-1] if positional else ""


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM. `argv` is what the engine passes: options, then its address."""
    children = Children()
    ended = threading.Event()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        ended.set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    server = grpc.server(ThreadPoolExecutor(max_workers=MAX_CALLS), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(_engine_address(argv), children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ended.wait()
    children.end_all()
    server.stop(grace=None)
    # Calls that are still waiting on their threads must not keep the process alive.
    os._exit(0)
