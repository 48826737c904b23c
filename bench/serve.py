"""Throughput and latency of the server on one core, beside FastAPI with the Keras model as tf.function.

    python bench/serve.py [--seconds 5] [--connections 16] [--no-baseline]

The server runs on the first core, the load on the second. Absolute figures depend on the machine: look at the ratios.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import uvloop

ROOT = Path(__file__).resolve().parents[1]
BODY = b'{"inputs": [[0.5]]}'
HEAD = (
    "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
)
REQUEST = HEAD.encode() + BODY
BASELINE_WARM_UP_SECONDS = 1.0


class Caller(asyncio.Protocol):
    """One kept connection: the next request goes out when the answer to the last one is whole."""

    def __init__(self, seconds: list[float], statuses: dict[bytes, int]) -> None:
        self.seconds = seconds
        self.statuses = statuses
        self.asking = True
        self._buffer = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        self._asked = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if len(body) < int(lengths[0].split(b":")[1]):
            return
        self._buffer = b""
        self.seconds.append(time.perf_counter() - self._asked)
        status = head[9:12]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if self.asking:
            self.ask()
        else:
            self.transport.close()


def processor_seconds(pid: int) -> float:
    """What the process has used so far: unlike the clock, it does not depend on what else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, pid: int, connections: int, seconds: float) -> tuple[list[float], dict[bytes, int], float]:
    taken: list[float] = []
    statuses: dict[bytes, int] = {}
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(taken, statuses), "127.0.0.1", port))[1]
        for _caller in range(connections)
    ]
    await asyncio.sleep(BASELINE_WARM_UP_SECONDS)
    taken.clear()
    statuses.clear()
    used = processor_seconds(pid)
    await asyncio.sleep(seconds)
    measured = list(taken), dict(statuses), processor_seconds(pid) - used
    for caller in callers:
        caller.asking = False
    await asyncio.sleep(0.2)
    return measured


def measure(name: str, command: list[str], env: dict[str, str], connections: int, seconds: float) -> dict[str, float]:
    """Start the server on the first core, ask it from the second."""
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL
    )
    try:
        _wait(int(env["MODELOPS_PORT"]), process)
        taken, statuses, used = uvloop.run(load(int(env["MODELOPS_PORT"]), process.pid, connections, seconds))
        memory = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    finally:
        process.terminate()
        process.wait(30)
    if set(statuses) != {b"200"}:
        raise SystemExit(f"{name}: not every request was answered: {statuses}")
    percentiles = statistics.quantiles(taken, n=1000)
    return {
        "requests_per_second": len(taken) / seconds,
        "p50_ms": percentiles[499] * 1000,
        "p99_ms": percentiles[989] * 1000,
        "processor_microseconds_per_request": used / len(taken) * 1e6,
        "memory_mb": memory,
    }


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    import urllib.request

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not get ready")


def train(directory: Path) -> None:
    """The sample model itself, with its defaults."""
    env = {
        "MODELOPS_RUN_ID": "bench",
        "MODELOPS_MODEL_NAME": "bench",
        "MODELOPS_OUTPUT_DIR": str(directory),
        "MODELOPS_CHECKPOINT_DIR": str(directory / "checkpoints"),
    }
    command = [sys.executable, "-m", "model.train"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput and latency of the server, one core each")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--no-baseline", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        env = {"MODELOPS_MODEL_DIR": f"{folder}/model", "MODELOPS_DRAIN_SECONDS": "0", "OPENBLAS_NUM_THREADS": "1"}
        results = {}
        commands = {"modelops": [sys.executable, "-m", "model.serve"]}
        if not options.no_baseline:
            commands["fastapi_keras"] = [sys.executable, str(ROOT / "bench" / "serve_baseline.py")]
        for number, (name, command) in enumerate(commands.items()):
            settings = {**env, "MODELOPS_PORT": str(18930 + number)}
            results[name] = measure(name, command, settings, options.connections, options.seconds)
    print(json.dumps(results, indent=2))
    if "fastapi_keras" in results:
        ours, theirs = results["modelops"], results["fastapi_keras"]
        used = theirs["processor_microseconds_per_request"] / ours["processor_microseconds_per_request"]
        print(f"FastAPI with Keras takes {used:.1f} times the processor time a request (steady on a busy machine),")
        print(f"answers 1/{ours['requests_per_second'] / theirs['requests_per_second']:.1f} of the requests a second")


if __name__ == "__main__":
    main()
