"""PostgreSQL on this machine, where its programs are installed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_INSTALLED = "/usr/lib/postgresql"


def _programs() -> Path:
    """The folder of the newest version's programs."""
    found = sorted(Path(_INSTALLED).glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.skip("PostgreSQL's programs are not on this machine")
    return (found[-1] if found else Path(str(on_path))).parent


@contextmanager
def running() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database while it runs."""
    # Not in pytest's own folder, which is root's alone.
    with tempfile.TemporaryDirectory(prefix="modelops-postgres-") as folder, _served(Path(folder)) as url:
        yield url


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    programs = _programs()
    user = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "team", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        **options,  # type: ignore[call-overload]
    )
    command = [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "team"], check=False
        ).returncode:
            assert process.poll() is None and time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)
        yield f"postgresql://team@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # the fast way: connections are closed
        process.wait(60)
