"""The process: listen, load, serve, drain."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn

from modelops_runtime.artifacts.manifest import FILE_NAME
from modelops_runtime.contract import ConfigurationError, ContractError, ServeContract
from modelops_runtime.serving.app import App
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.manifest_model import load_manifest_model
from modelops_runtime.serving.metrics import Metrics
from modelops_runtime.serving.mirror import Mirror
from modelops_runtime.serving.mlflow.description import FILE_NAME as MLMODEL
from modelops_runtime.serving.mlflow.model import Note, load_mlflow_model
from modelops_runtime.serving.protocol import BoundedProtocol
from modelops_runtime.serving.served import Served
from modelops_runtime.serving.worker import Worker

if TYPE_CHECKING:
    from modelops_runtime.serving.open_inference import grpc
    from modelops_runtime.serving.tracing import Tracing

GRACE_SECONDS = 10
"""How long requests still running after the drain may take."""
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than the idle timeouts of the usual proxies, so that it is never us who closes a connection they reuse."""


class Server(uvicorn.Server):
    """uvicorn, except that signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def load_model(settings: ServeContract, note: Note) -> Served:
    """`note` gets what is worth a line of the log. Raises ContractError when the model is not there or does not answer
    right."""
    folder = settings.model_dir
    if (folder / MLMODEL).is_file() and not (folder / FILE_NAME).is_file():
        return load_mlflow_model(settings, note)
    return load_manifest_model(settings)


def extra(module: str, variable: str) -> Any:
    """The module of serving that needs the extra of the same name. Raises ConfigurationError when that is missing."""
    try:
        return import_module(f"modelops_runtime.serving.{module}")
    except ModuleNotFoundError as error:
        name = module.rpartition(".")[2]
        install = f"pip install 'modelops-runtime[{name}]', or build the image with EXTRAS={name}"
        raise ConfigurationError(f"{variable} needs {error.name}: {install}") from error


def listen(settings: ServeContract) -> socket.socket:
    """Raises ContractError when the address can't be had. `::` is every address, of IPv4 too."""
    dual = settings.host == "::" and socket.has_dualstack_ipv6()
    host = "0.0.0.0" if settings.host == "::" and not dual else settings.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise ContractError(f"can't listen on {settings.host}:{settings.port}: {error.strerror}") from None


async def serve(settings: ServeContract) -> None:
    """Serve until SIGTERM or SIGINT. Raises ContractError when the model can't be loaded or the port not be had."""
    np.seterr(all="ignore")  # numbers that are too large are refused, without a warning
    log = Log(settings.model_version)
    metrics = Metrics()
    mirror = Mirror(settings.mirror_url, settings.mirror_percent) if settings.mirror_url else None
    tracing: Tracing | None = None
    if settings.tracing:
        tracing = extra("tracing", "MODELOPS_TRACING").Tracing(settings.model_version, log)
    app = App(settings, log, metrics, mirror, tracing)
    calls: grpc.Server | None = None
    if settings.grpc_port:
        calls = extra("open_inference.grpc", "MODELOPS_GRPC_PORT").Server(app, settings, log, metrics, tracing)
    config = uvicorn.Config(
        app,
        loop="none",
        http=partial(BoundedProtocol, turned_away=app.turned_away),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    listener = listen(settings)
    server = Server(config)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        ports = {"port": listener.getsockname()[1]}
        if calls is not None:
            await calls.start()
            ports["grpc_port"] = calls.port
        log.event("listening", host=settings.host, **ports)
        model = await _loaded(settings, stopping, log)
        if model is not None:
            log.model = model.name
            metrics.serving(model)
            app.serve(model)
            if calls is not None:
                await calls.serve(model)
            if mirror is not None:
                metrics.add(mirror)
                mirror.start()
            # What is allocated now stays: collecting it again and again would only delay answers.
            gc.collect()
            gc.freeze()
            log.event("ready", run_id=model.run_id)
            await stopping.wait()
            app.drain()
            if calls is not None:
                await calls.drain()
            log.event("draining", seconds=settings.drain_seconds)
            await asyncio.sleep(settings.drain_seconds)
    finally:
        server.should_exit = True
        ending = [serving]
        if calls is not None:
            ending.append(asyncio.create_task(calls.stop(GRACE_SECONDS)))
        await asyncio.wait(ending)
        if mirror is not None:
            await mirror.stop()
        if tracing is not None:
            await tracing.stop()
    log.event("stopped")


async def _loaded(settings: ServeContract, stopping: asyncio.Event, log: Log) -> Served | None:
    """None when the server is to stop first: a load can't be stopped, but need not be waited for.

    Raises ContractError when the model can't be loaded.
    """
    worker, loop = Worker("load"), asyncio.get_running_loop()

    def note(event: str, reason: str) -> None:
        loop.call_soon_threadsafe(partial(log.event, event, level="warning", reason=reason))

    loading = loop.run_in_executor(worker, load_model, settings, note)
    worker.shutdown()
    stop = asyncio.create_task(stopping.wait())
    stop.add_done_callback(lambda _stop: loading.cancel())
    try:
        return await loading
    except asyncio.CancelledError:
        return None
    finally:
        stop.cancel()
