"""Rows a second and peak memory of the data pipeline, on this machine: `modelops-prepare` as its pods run it.

    .venv/bin/python -m bench.data_pipeline [--rows 1000000 10000000] [--workers 1 2 4] [--engines memory dask]

Every worker is a process of its own, all of one run start together and share the machine's cores. Memory is each
process's own peak (`VmHWM`; `ru_maxrss` begins with what this program had when it started the worker); the largest
counts. Processor seconds are those of all workers together: unlike rows a
second, they hardly move with what else the machine does. The raw rows are CSV in eight files, with duplicates, missing
values and a column of names. Before a figure counts, its rows are held against those of the first run with as many
rows: a fast wrong answer is an error.
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
LOOK_SECONDS = 0.02
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
    """One row in a hundred is there twice, one in seven has no income."""
    each = rows // FILES
    for number in range(FILES):
        place = np.arange(number * each, (number + 1) * each)
        place[99::100] = place[98::100]
        income = np.abs(place * 7919 % 900_001) / 100
        frame = pd.DataFrame(
            {
                "who": [f"person {row}" for row in place],
                "age": 18 + place * 31 % 72,
                "income": np.where(place % 7 == 0, np.nan, income),
                "city": np.array(["Rome", "Oslo", "Lima"])[place * 13 % 3],
                "y": place % 2,
            }
        )
        frame.to_csv(folder / f"raw-{number:02}.csv", index=False)


def run(raw: Path, out: Path, workers: int, engine: str) -> dict[str, float]:
    """Seconds until all workers of a run have ended, and the most memory that one of them had, in MiB."""
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
    peak, processor, at_work = 0.0, 0.0, set(pids)
    while at_work:
        for pid in list(at_work):
            peak = max(peak, peak_mebibytes(pid))
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            if status:
                code = os.waitstatus_to_exitcode(status)
                raise SystemExit(f"a worker of {workers} with the engine {engine} failed: {code}")
            processor += usage.ru_utime + usage.ru_stime
            at_work.remove(pid)
        time.sleep(LOOK_SECONDS)
    elapsed = time.perf_counter() - started
    return {"seconds": elapsed, "processor_seconds": processor, "peak_mebibytes": peak}


def peak_mebibytes(pid: int) -> float:
    """The most that was resident so far; 0 of a process that has ended."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def digest(out: Path) -> str:
    """Of every row of every part in its order, however many files it is in."""
    found = hashlib.sha256((out / "measured" / "preprocessing.json").read_bytes())
    for part in ("train", "validation", "test"):
        for file in sorted((out / "measured" / part).iterdir()):
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
                found.update(pd.util.hash_pandas_object(batch.to_pandas(), index=False).to_numpy().tobytes())
    return found.hexdigest()


def measure(counts: list[int], workers: list[int], engines: list[str]) -> Iterator[dict[str, Any]]:
    """A figure for each; the first with as many rows says what the rows are."""
    for rows in counts:
        with tempfile.TemporaryDirectory() as scratch:
            raw, right = Path(scratch, "raw"), ""
            raw.mkdir()
            write_raw(raw, rows)
            for engine in engines:
                for number in workers:
                    out = Path(scratch, f"{engine}-{number}")
                    found = run(raw, out, number, engine)
                    right = right or digest(out)
                    if digest(out) != right:
                        raise SystemExit(f"{rows} rows: {number} workers with {engine} have other rows")
                    subprocess.run(["rm", "-r", str(out)], check=True)
                    figure = {"rows": rows, "engine": engine, "workers": number, **found}
                    figure["rows_per_second"] = rows / found["seconds"]
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
    given = parser.parse_args()
    print("| rows | engine | workers | rows a second | processor seconds | peak MiB of a worker |\n" + "|---" * 6 + "|")
    about = {name: version(name) for name in ("dask", "distributed", "pandas", "pyarrow", "numpy", "scikit-learn")}
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **about}
    figures = []
    for figure in measure(given.rows, given.workers, given.engines):
        print(line(figure), flush=True)
        figures.append(figure)
        RESULTS.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
