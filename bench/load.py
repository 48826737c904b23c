"""The load generator: Debian's h2load (of nghttp2, in C++). It runs on the last core, the server on the first."""

import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "nghttp2-client"
WARM_UP_SECONDS = 1
JSON = ("content-type: application/json",)
SERVER_CORE = min(os.sched_getaffinity(0))
LOAD_CORE = max(os.sched_getaffinity(0))


class BenchError(Exception):
    """Why a figure can't be measured."""


@dataclass(frozen=True)
class Run:
    """The clients' view of one run."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    requests: int


def install() -> str:
    """h2load's version. Installs Debian's package if the program is missing, which needs root."""
    if shutil.which("h2load") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise SystemExit(f"the load generator is missing: install Debian's {PACKAGE}")
        print(f"installing {PACKAGE}", flush=True)
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", PACKAGE]):
            subprocess.run(["apt-get", *command], check=True, stdout=subprocess.DEVNULL)
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def load(
    url: str,
    body: bytes,
    *,
    seconds: float,
    connections: int,
    rate: float | None = None,
    headers: Sequence[str] = JSON,
    http2: bool = False,
) -> Run:
    """Send requests over persistent connections, one at a time on each.

    With `rate`, aims at that many requests per second, spread evenly over the connections. Raises BenchError when a
    response is not 200.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder, "body"), Path(folder, "log")
        data.write_bytes(body)
        command = ["taskset", "-c", str(LOAD_CORE), "h2load", "--threads=1", f"--clients={connections}"]
        command += [] if http2 else ["--h1"]
        command += [
            f"--duration={seconds:g}",
            f"--warm-up-time={WARM_UP_SECONDS}",
            f"--data={data}",
            f"--log-file={log}",
        ]
        command += [f"--header={header}" for header in headers]
        if rate:
            command += [f"--rps={max(1, round(rate / connections))}"]
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds * 10 + 60)
        if done.returncode != 0 or not log.exists():
            raise BenchError(f"h2load failed: {done.stdout[-500:]} {done.stderr[-500:]}")
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    # 0: a response in two pieces whose head came before the warm-up ended, so that h2load recorded no status.
    without_status = [row for row in rows if row[1] == "0"]
    if len(without_status) <= connections:
        rows = [row for row in rows if row[1] != "0"]
    statuses = {row[1] for row in rows}
    if statuses != {"200"}:
        raise BenchError(f"not every response was 200: {sorted(statuses)}")
    latencies = [int(row[2]) / 1000 for row in rows]
    span = (max(int(row[0]) + int(row[2]) for row in rows) - min(int(row[0]) for row in rows)) / 1e6
    percentiles = statistics.quantiles(latencies, n=100)
    return Run(len(rows) / span, percentiles[49], percentiles[98], len(rows))
