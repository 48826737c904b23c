"""Rows per second and peak memory of the data pipeline, on this machine: `modelops-prepare` as its pods run it.

    .venv/bin/python -m bench.data_pipeline [--rows 1000000 10000000] [--workers 1 2 4] [--engines memory dask]

Each worker is a separate process; the workers of a run start together and share the machine's cores. Memory is the
largest peak of a worker (`VmHWM`, because `ru_maxrss` starts with the memory of this program). CPU seconds are the sum
over all workers: unlike rows per second, they hardly depend on the machine's other load. The raw rows are CSV in eight
files, with duplicates, missing values and a column of names. A figure counts only if its rows equal those of the first
run with as many rows: a fast wrong result is an error.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet

RESULTS = Path(__file__).parent / "results" / "data_pipeline.json"
FILES = 8
POLL_SECONDS = 0.02
SALT = "a salt for measuring alone"
TYPES = {"who": "text", "age": "number", "income": "number", "city": "text", "y": "number"}
STEPS: list[dict[str, Any]] = [
    {"check": {"columns": {"age": {"type": "integer", "minimum": 18}}}},
    {"pseudonymise": {"columns": ["who"], "domain": "person"}},
    {"outliers": {"columns": ["income"], "rule": "bounds", "low": 0, "high": 6000}},
    {"deduplicate": {}},
    {"split": {"by": "stratified", "column": "y"}},
    {"drop": {"columns": ["who"]}},
    {"fill": {"columns": ["income"], "by": "median"}},
    {"scale": {"columns": ["age", "income"]}},
    {"encode": {"columns": ["city"]}},
]


def write_raw(folder: Path, rows: int) -> None:
    """One row in a hundred is duplicated, one in seven has no income."""
    rows_per_file = rows // FILES
    for number in range(FILES):
        index = np.arange(number * rows_per_file, (number + 1) * rows_per_file)
        index[99::100] = index[98::100]
        income = np.abs(index * 7919 % 900_001) / 100
        frame = pd.DataFrame(
            {
                "who": [f"person {row}" for row in index],
                "age": 18 + index * 31 % 72,
                "income": np.where(index % 7 == 0, np.nan, income),
                "city": np.array(["Rome", "Oslo", "Lima"])[index * 13 % 3],
                "y": index % 2,
            }
        )
        frame.to_csv(folder / f"raw-{number:02}.csv", index=False)


def run(raw: Path, out: Path, workers: int, engine: str) -> dict[str, float]:
    """Seconds until all workers of a run have ended, their CPU seconds, and the largest peak memory of one, in MiB."""
    pipeline = {"sources": [{"uri": f"{raw}/*.csv", "types": TYPES}], "steps": STEPS, "target": "y"}
    command = [
        sys.executable,
        "-m",
        "modelops_runtime",
        "prepare",
        "--pipeline",
        json.dumps(pipeline),
        "--destination",
        str(out),
    ]
    command += ["--engine", engine, "--shards", str(workers), "--data-version", "measured"]
    environment = {**os.environ, "MODELOPS_SALT": SALT}
    started = time.perf_counter()
    pids = [
        subprocess.Popen([*command, "--shard", str(shard)], env=environment, stdout=subprocess.DEVNULL).pid
        for shard in range(workers)
    ]
    peak, processor, running = 0.0, 0.0, set(pids)
    while running:
        for pid in list(running):
            peak = max(peak, peak_mebibytes(pid))
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            if status:
                code = os.waitstatus_to_exitcode(status)
                raise SystemExit(f"one of {workers} workers with the engine {engine} failed with exit code {code}")
            processor += usage.ru_utime + usage.ru_stime
            running.remove(pid)
        time.sleep(POLL_SECONDS)
    elapsed = time.perf_counter() - started
    return {"seconds": elapsed, "processor_seconds": processor, "peak_mebibytes": peak}


def peak_mebibytes(pid: int) -> float:
    """Peak resident memory so far; 0 for a process that has ended."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


def digest(out: Path) -> str:
    """A hash of every part's rows in order, regardless of how many files hold them."""
    hasher = hashlib.sha256((out / "measured" / "preprocessing.json").read_bytes())
    for part in ("train", "validation", "test"):
        for file in sorted((out / "measured" / part).iterdir()):
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
                hasher.update(pd.util.hash_pandas_object(batch.to_pandas(), index=False).to_numpy().tobytes())
    return hasher.hexdigest()


def measure(counts: list[int], workers: list[int], engines: list[str]) -> Iterator[dict[str, Any]]:
    """One figure for each combination; the first run of each row count sets the expected rows."""
    for rows in counts:
        with tempfile.TemporaryDirectory() as scratch:
            raw, expected = Path(scratch, "raw"), ""
            raw.mkdir()
            write_raw(raw, rows)
            for engine in engines:
                for number in workers:
                    out = Path(scratch, f"{engine}-{number}")
                    measured = run(raw, out, number, engine)
                    expected = expected or digest(out)
                    if digest(out) != expected:
                        raise SystemExit(f"{rows} rows: {number} workers with {engine} give different rows")
                    subprocess.run(["rm", "-r", str(out)], check=True)
                    figure = {"rows": rows, "engine": engine, "workers": number, **measured}
                    figure["rows_per_second"] = rows / measured["seconds"]
                    yield figure


def line(figure: dict[str, Any]) -> str:
    return (
        f"| {figure['rows']:,} | {figure['engine']} | {figure['workers']} | {figure['rows_per_second']:,.0f} |"
        f" {figure['processor_seconds']:,.0f} | {figure['peak_mebibytes']:,.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--engines", nargs="+", default=["memory", "dask"], choices=["memory", "dask"])
    options = parser.parse_args()
    print("| rows | engine | workers | rows a second | processor seconds | peak MiB of a worker |\n" + "|---" * 6 + "|")
    versions = {name: version(name) for name in ("dask", "distributed", "pandas", "pyarrow", "numpy", "scikit-learn")}
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **versions}
    figures = []
    for figure in measure(options.rows, options.workers, options.engines):
        print(line(figure), flush=True)
        figures.append(figure)
        RESULTS.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
