"""Rows per second and peak memory of the data pipeline, on this machine: `modelops-prepare` as its pods run it.

    .venv/bin/python -m bench.data_pipeline [--rows 1000000 10000000] [--workers 1 2 4] [--engines memory dask]
    .venv/bin/python -m bench.data_pipeline --beside 1000000 [--repeats 5]

The second one runs it beside the same steps by plain pandas and scikit-learn (references/prepare_by_hand.py): in turns,
so that all meet the same other load, whole processes with their imports. Ratios are of one turn each; the table has
their median and quartiles.

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
BY_HAND = Path(__file__).parent / "references" / "prepare_by_hand.py"
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
    """A run of `modelops-prepare`, measured."""
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
    command += ["--engine", engine, "--shards", str(workers)]
    return watched([[*command, "--shard", str(shard)] for shard in range(workers)], f"{workers} workers with {engine}")


def by_hand(raw: Path, out: Path) -> dict[str, float]:
    """A run of the script with the same steps, measured."""
    return watched([[sys.executable, str(BY_HAND), str(raw), str(out)]], BY_HAND.name)


def watched(commands: list[list[str]], name: str) -> dict[str, float]:
    """Seconds until all processes have ended, their CPU seconds, and the largest peak memory of one, in MiB."""
    environment = {**os.environ, "MODELOPS_SALT": SALT}
    started = time.perf_counter()
    pids = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL).pid for command in commands]
    peak, processor, running = 0.0, 0.0, set(pids)
    while running:
        for pid in list(running):
            peak = max(peak, peak_mebibytes(pid))
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            if status:
                code = os.waitstatus_to_exitcode(status)
                raise SystemExit(f"{name} failed with exit code {code}")
            processor += usage.ru_utime + usage.ru_stime
            running.remove(pid)
        time.sleep(POLL_SECONDS)
    elapsed = time.perf_counter() - started
    return {"seconds": elapsed, "processor_seconds": processor, "peak_mebibytes": peak}


def peak_mebibytes(pid: int) -> float:
    """Peak resident memory so far; 0 for a process that has ended."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


def published(out: Path) -> Path:
    """The folder of the version in a destination."""
    return out / str(json.loads((out / "latest.json").read_text())["data_version"])


def digest(out: Path) -> str:
    """A hash of every part's rows in order, regardless of how many files hold them."""
    version = published(out)
    hasher = hashlib.sha256((version / "preprocessing.json").read_bytes())
    for part in ("train", "validation", "test"):
        for file in sorted((version / part).iterdir()):
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


def beside(rows: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """By program, a measurement a turn. A part with another number of rows than the script's is an error."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch, "raw")
        raw.mkdir()
        write_raw(raw, rows)
        measured: dict[str, list[dict[str, float]]] = {}
        for turn in range(repeats):
            script = Path(scratch, f"script-{turn}")
            measured.setdefault("by hand", []).append(by_hand(raw, script))
            counts = json.loads((script / "report.json").read_text())["rows"]
            for workers in (1, 2):
                out = Path(scratch, f"{workers}-{turn}")
                measured.setdefault(f"{workers} worker{'s'[: workers - 1]}", []).append(
                    run(raw, out, workers, "memory")
                )
                if json.loads((published(out) / "report.json").read_text())["rows"] != counts:
                    raise SystemExit(f"{rows} rows: {workers} workers and the script make parts of different sizes")
        return measured


def beside_lines(measured: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """A row a program; of the ratios, above 1 is faster or smaller than by hand."""
    yield "| program | seconds | processor seconds | peak MiB | speed, by hand = 1 | memory |\n" + "|---" * 6 + "|"
    for program, turns in measured.items():
        cells = [spread([turn[what] for turn in turns]) for what in ("seconds", "processor_seconds", "peak_mebibytes")]
        script = measured["by hand"]
        cells += [
            spread([other[what] / turn[what] for turn, other in zip(turns, script, strict=True)])
            for what in ("seconds", "peak_mebibytes")
        ]
        yield f"| {program} | " + " | ".join(cells) + " |"


def spread(values: list[float]) -> str:
    """The median, and the quartiles in brackets."""
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
    digits = 2 if middle < 100 else 0
    return f"{middle:,.{digits}f} ({first:,.{digits}f}–{third:,.{digits}f})"


def save(**found: Any) -> None:
    """What was measured now, in place of what is in the file."""
    versions = {name: version(name) for name in ("dask", "distributed", "pandas", "pyarrow", "numpy", "scikit-learn")}
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **versions}
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**saved, "machine": machine, **found}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--engines", nargs="+", default=["memory", "dask"], choices=["memory", "dask"])
    parser.add_argument("--beside", type=int, help="rows to run beside the script, instead of the table")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.beside:
        measured = beside(options.beside, options.repeats)
        print("\n".join(beside_lines(measured)))
        save(beside={"rows": options.beside, **measured})
        return
    print("| rows | engine | workers | rows a second | processor seconds | peak MiB of a worker |\n" + "|---" * 6 + "|")
    figures = []
    for figure in measure(options.rows, options.workers, options.engines):
        print(line(figure), flush=True)
        figures.append(figure)
        save(figures=figures)


if __name__ == "__main__":
    main()
