"""Dask's scheduler and workers of one run: how they meet, prove who they are, and keep values out of logs."""

import asyncio
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelops_runtime.contract import ContractError
from modelops_runtime.contract.data import ENGINE_TLS

if TYPE_CHECKING:
    from distributed import Client

    from modelops_runtime.data.storage import Place

MEETING = "engine.json"
NO_PAGES = "127.0.0.1:0"
"""Address of Dask's HTTP servers, which can't be switched off: without pages, on a free port of loopback."""
SHUFFLE_BUFFER = "16 MiB"
POLL_SECONDS = 0.5


@contextmanager
def led(place: "Place", folder: str) -> Iterator["Client"]:
    """Leads the workers of a run, as one of them; the others come by `work`."""
    from distributed import Client, LocalCluster

    _set_up()
    security = _security()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=NO_PAGES,
            worker_dashboard_address=NO_PAGES,
            local_directory=scratch,
            security=security,
            **_listening(security),
        ) as cluster,
        Client(cluster) as client,
    ):
        place.write_text(f"{folder}/{MEETING}", json.dumps({"address": cluster.scheduler_address}))
        yield client


def work(place: "Place", folder: str, wait_seconds: float) -> None:
    """Works for the leader of the run that meets in `folder`, until that folder is gone.

    Raises ContractError when it has no leader.
    """
    _set_up()
    done, deadline = "", time.monotonic() + wait_seconds
    while place.names(folder):
        address = _meeting(place, folder)
        if address and address != done:
            asyncio.run(_work(address))
            # The leader ended: this run is over, or another try of it will lead.
            done, deadline = address, time.monotonic() + wait_seconds
        if time.monotonic() > deadline:
            raise ContractError(f"nobody leads the workers after {wait_seconds:g} s")
        time.sleep(POLL_SECONDS)


def _meeting(place: "Place", folder: str) -> str:
    try:
        return str(json.loads(place.read_text(f"{folder}/{MEETING}"))["address"])
    except OSError:
        return ""


async def _work(address: str) -> None:
    from distributed import Worker

    security = _security()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        worker = Worker(
            address,
            nthreads=1,
            local_directory=scratch,
            security=security,
            **_listening(security),
            dashboard_address=NO_PAGES,
            death_timeout=10,
        )
        try:
            async with worker:
                await worker.finished()
        except (OSError, TimeoutError):
            return  # the leader of an earlier try: its address stays until the next one writes its own


def _set_up() -> None:
    """No web pages, small buffers, and no log lines: Dask logs the arguments of what fails, and with them values."""
    import dask
    import distributed  # which sets its loggers' levels when it is first imported

    assert distributed
    dask.config.set({f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")})
    # What a shuffle has in memory on its way to others and to the disk; of itself more than 1 GiB.
    dask.config.set({f"distributed.p2p.{part}.buffer": SHUFFLE_BUFFER for part in ("comm", "storage")})
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _security() -> Any:
    """Both ends show a certificate of the run's own authority; None where there is none."""
    from distributed.security import Security

    if not (folder := os.environ.get(ENGINE_TLS, "")):
        return None
    ends = {
        f"tls_{end}_{kind}": f"{folder}/worker.{'crt' if kind == 'cert' else 'key'}"
        for end in ("scheduler", "worker", "client")
        for kind in ("cert", "key")
    }
    return Security(tls_ca_file=f"{folder}/ca.crt", require_encryption=True, **ends)


def _listening(security: Any) -> dict[str, str]:
    """Where a process listens. Left to itself, Dask looks for an address of IPv4 that leads to the internet."""
    if security is None:
        return {"protocol": "tcp://", "host": "127.0.0.1"}
    address = _own_address()
    return {"protocol": "tls://", "host": f"[{address}]" if ":" in address else address}


def _own_address() -> str:
    """The pod's, as its own list of hosts has it: that of IPv4, if it has one."""
    found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])
