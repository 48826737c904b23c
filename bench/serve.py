"""Measures the model server against its goals and against other servers.

    python -m bench.serve [--seconds 5] [--rounds 5] [--connections 16] [--protocol|--transports]

One worker on the first core, the load on the last. All servers are started, then measured in turn, round after round,
while the others are paused, so that the machine's other load affects all alike. Figures are medians over the rounds.
"""

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import image, servers
from bench.figures import quartiles
from bench.goals import GOALS, Goal
from bench.load import BenchError, Run, install
from bench.models import WIDTH
from bench.servers import Running, Server
from devkit.paths import REPOSITORY

RESULTS = REPOSITORY / "bench" / "results"
FIRST_PORT = 18930
PACED_SHARE = 0.7
STARTS = 5
BATCHES = 64
Row = dict[str, Any]
NAMED = {
    "FastAPI + Keras tf.function": GOALS["predict, Keras"],
    "a bare LiteRT ASGI app": GOALS["predict, bare runtime"],
}
"""The references with a goal of their own; of the others, the best counts."""


@dataclass(frozen=True)
class Options:
    seconds: float
    rounds: int
    connections: int


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median and quartiles."""
    found = quartiles(list(values))
    return {name: round(found[name], 3) for name in ("median", "low", "high")}


def row(name: str, unit: str, ours: Sequence[float], goal: Goal | None = None, **more: Any) -> Row:
    """A row of the table. The goal judges the ratio if there is a reference, else our median."""
    mine = spread(ours)
    reference = more.pop("reference", None)
    ratio = round(mine["median"] / reference["median"], 2) if reference else None
    judged = goal.met(mine["median"] if ratio is None else ratio) if goal else None
    return {
        "row": name,
        "unit": unit,
        "ours": mine,
        "reference": reference,
        "ratio": ratio,
        "goal": str(goal or "-"),
        "met": judged,
        "runs": {"ours": [round(value, 3) for value in ours], **more.pop("runs", {})},
        **more,
    }


def failed(name: str, goal: Goal | None, error: Exception) -> Row:
    """A row without a figure, and the reason."""
    missing = {"ours": None, "reference": None, "ratio": None, "met": False if goal else None}
    return {"row": name, "unit": "", "goal": str(goal or "-"), **missing, "runs": {}, "error": str(error)[-1000:]}


def make_model(kind: str, folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "bench.models", kind, str(folder / kind)], cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"the model {kind} can't be made: {done.stderr[-2000:]}")
    return folder / kind


def started(factories: Sequence[Callable[[], Server]], model: Path, folder: Path, stack: ExitStack) -> list[Any]:
    """Each server, started and paused; an error in place of a server that can't be started."""
    started_servers: list[Any] = []
    for number, make in enumerate(factories):
        try:
            server = make()
            print(f"starting {server.name}", flush=True)
            running = Running(server, model, FIRST_PORT + number, folder / f"server-{number}.log")
            stack.callback(running.stop)
            running.load(1, 4)  # warms up what is created on first use
            running.pause()
            started_servers.append(running)
        except (BenchError, OSError) as error:
            print(f"  {error}", flush=True)
            started_servers.append(error)
    return started_servers


def in_turn(
    running: Sequence[Any], options: Options, connections: int, rates: Mapping[str, float] | None = None
) -> dict[str, list[Run]]:
    """Runs by server, round after round, each limited to its rate in `rates`."""
    runs: dict[str, list[Run]] = {one.server.name: [] for one in running}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        for one in running:
            one.resume()
            try:
                rate = rates[one.server.name] if rates else None
                made = one.load(options.seconds, connections, rate)
            finally:
                one.pause()
            runs[one.server.name].append(made)
    return runs


def raw(runs: Sequence[Run]) -> list[dict[str, float]]:
    return [{key: round(value, 3) for key, value in asdict(run).items()} for run in runs]


def throughput(model: Path, folder: Path, options: Options) -> list[Row]:
    """Our server against each of the others, and against the best of the three model servers."""
    folders = {name: folder / name for name in ("mlserver", "bentoml")}
    for each in folders.values():
        each.mkdir()
    others: list[tuple[str, Callable[[], Server]]] = [
        ("FastAPI + Keras tf.function", servers.fastapi_keras),
        ("a bare LiteRT ASGI app", servers.bare_asgi),
        ("KServe", servers.kserve),
        ("MLServer", lambda: servers.mlserver(folders["mlserver"])),
        ("BentoML", lambda: servers.bentoml(folders["bentoml"])),
    ]
    with ExitStack() as stack:
        factories = [servers.ours, servers.ours_by_open_protocol, *(make for _name, make in others)]
        candidates = started(factories, model, folder, stack)
        mine, protocol = candidates[:2]
        if not isinstance(mine, Running) or not isinstance(protocol, Running):
            raise SystemExit(f"our own server can't be measured: {mine} {protocol}")
        runs = in_turn([one for one in candidates if isinstance(one, Running)], options, options.connections)
        memory = {one.server.name: one.memory_mb() for one in candidates if isinstance(one, Running)}
        versions = {one.server.name: servers.versions(one.server) for one in candidates if isinstance(one, Running)}
        paced = _paced(mine, runs[mine.server.name], options)
    rates = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
    ours = rates["modelops"]
    rows: list[Row] = []
    for (name, _make), one in zip(others, candidates[2:], strict=True):
        goal = NAMED.get(name)
        title = f"throughput against {name}"
        if isinstance(one, Exception):
            rows.append(failed(title, goal, one))
            continue
        raws = {"runs": {"ours": raw(runs["modelops"]), "reference": raw(runs[name])}}
        more = {
            "reference": spread(rates[name]),
            "versions": versions[name],
            "reference_memory_mb": round(memory[name], 1),
        }
        rows.append({**row(title, "requests/s", ours, goal, **more), **raws})
    rows.insert(len(NAMED), _best([name for name, _make in others if name not in NAMED], rates))
    rows.append(row("throughput by the Open Inference Protocol", "requests/s", rates[protocol.server.name]))
    rows.append(paced)
    rows.append(row("memory after the load", "MB", [memory["modelops"]], GOALS["memory"]))
    return rows


def _best(names: Sequence[str], rates: dict[str, list[float]]) -> Row:
    medians = {name: statistics.median(rates[name]) for name in names if name in rates}
    title = "throughput against the best model server"
    if not medians:
        return failed(title, GOALS["predict, model servers"], BenchError("none of them could be measured"))
    best = max(medians, key=lambda name: medians[name])
    missing = sorted(set(names) - medians.keys())
    title += f" ({best})" + (f", without {' and '.join(missing)}" if missing else "")
    reference = spread(rates[best])
    return row(title, "requests/s", rates["modelops"], GOALS["predict, model servers"], reference=reference)


def _paced(mine: Running, peaks: Sequence[Run], options: Options) -> Row:
    rate = PACED_SHARE * statistics.median(run.requests_per_second for run in peaks)
    mine.resume()
    runs = [mine.load(options.seconds, options.connections, rate) for _round in range(options.rounds)]
    values = [run.p99_ms for run in runs]
    paced = row("p99 at 70% of its own peak", "ms", values, GOALS["p99"], aimed_at=round(rate))
    paced["runs"]["ours"] = raw(runs)
    return paced


def protocols(model: Path, folder: Path, options: Options) -> list[Row]:
    """Our server on our protocol class and on uvicorn's own: whether ours is still worth its code."""
    factories = [servers.ours, servers.ours_on_the_stock_protocol, servers.fastapi_keras, servers.kserve]
    with ExitStack() as stack:
        running = started(factories, model, folder, stack)
        if errors := [one for one in running if not isinstance(one, Running)]:
            raise SystemExit(f"not every server can be measured: {errors}")
        ours = running[:2]
        before = [cpu_time(one) for one in ours]
        runs = in_turn(running, options, options.connections)
        spent = [_microseconds(earlier, cpu_time(one)) for earlier, one in zip(before, ours, strict=True)]
        peaks = {name: statistics.median(run.requests_per_second for run in made) for name, made in runs.items()}
        rates = {one.server.name: PACED_SHARE * peaks[one.server.name] for one in ours}
        paced = in_turn(ours, options, options.connections, rates)
    peak = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
    p99 = {name: [run.p99_ms for run in made] for name, made in paced.items()}
    mine, stock, keras, best = (one.server.name for one in running)
    rows = [row("our protocol against uvicorn's own", "requests/s", peak[mine], reference=spread(peak[stock]))]
    rows[0]["ratio"] = by_round(peak[mine], peak[stock])
    rows.append(row("processor time a request, the same two", "µs", spent[:1], reference=spread(spent[1:])))
    for name in (mine, stock):
        for other, goal in ((keras, GOALS["predict, Keras"]), (best, GOALS["predict, model servers"])):
            title = f"{name} against {other}"
            ratio = by_round(peak[name], peak[other])
            made = row(title, "requests/s", peak[name], goal, reference=spread(peak[other]))
            rows.append({**made, "ratio": ratio, "met": goal.met(ratio)})
        title = f"{name}: p99 at 70% of its own peak"
        rows.append(row(title, "ms", p99[name], GOALS["p99"], aimed_at=round(rates[name])))
    return rows


def transports(model: Path, folder: Path, options: Options) -> list[Row]:
    """The same prediction by each of the ways to ask our server for it, against the first of them."""
    factories = [
        servers.ours,
        servers.ours_by_open_protocol,
        servers.ours_with_binary_data,
        lambda: servers.ours_by_grpc(raw=False),
        lambda: servers.ours_by_grpc(raw=True),
    ]
    with ExitStack() as stack:
        running = started(factories, model, folder, stack)
        if errors := [one for one in running if not isinstance(one, Running)]:
            raise SystemExit(f"not every server can be measured: {errors}")
        before = [cpu_time(one) for one in running]
        runs = in_turn(running, options, options.connections)
        spent = [_microseconds(earlier, cpu_time(one)) for earlier, one in zip(before, running, strict=True)]
        peaks = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
        rates = {name: PACED_SHARE * statistics.median(peak) for name, peak in peaks.items()}
        paced = in_turn(running, options, options.connections, rates)
        memory = [one.memory_mb() for one in running]
    first = running[0].server.name
    rows = []
    for one, microseconds, megabytes in zip(running, spent, memory, strict=True):
        name = one.server.name
        made = row(f"{name}: throughput", "requests/s", peaks[name], reference=spread(peaks[first]))
        rows.append({**made, "ratio": by_round(peaks[name], peaks[first])})
        rows.append(row(f"{name}: processor time a request", "µs", [microseconds]))
        for share in ("p50", "p99"):
            values = [getattr(run, f"{share}_ms") for run in paced[name]]
            rows.append(row(f"{name}: {share} at 70% of its own peak", "ms", values))
        rows.append(row(f"{name}: memory after the load", "MB", [megabytes]))
    return rows


def cpu_time(one: Running) -> tuple[float, float]:
    """CPU seconds of one of our servers so far, and its requests: steadier than elapsed time on a busy machine."""
    one.resume()
    try:
        return one.metric("process_cpu_seconds_total"), one.metric("modelops_requests_total")
    finally:
        one.pause()


def _microseconds(before: tuple[float, float], after: tuple[float, float]) -> float:
    seconds, requests = (late - early for early, late in zip(before, after, strict=True))
    return 1e6 * seconds / requests


def by_round(ours: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the rounds' ratios: other load affects servers measured in the same round alike."""
    return round(statistics.median(mine / other for mine, other in zip(ours, reference, strict=True)), 2)


def starting(model: Path, folder: Path) -> Row:
    seconds = []
    for number in range(STARTS):
        running = Running(servers.ours(), model, FIRST_PORT + 20, folder / f"start-{number}.log")
        running.stop()
        seconds.append(running.seconds_to_answer)
    return row("from exec to the first right answer", "s", seconds, GOALS["start"])


def image_rows() -> list[Row]:
    try:
        packed, unpacked = image.beyond_its_base("serve")
    except (BenchError, OSError) as error:
        return [failed("serving image beyond its base", GOALS["image"], error)]
    return [
        row("serving image beyond its base, unpacked", "MB", [unpacked], GOALS["image"]),
        row("serving image beyond its base, packed", "MB", [packed]),
    ]


def batching(line: Path, folder: Path, options: Options) -> list[Row]:
    """Batching of waiting requests on and off, for a tiny model and for a larger one."""
    rows = []
    for title, model, width in (("the sample", line, 1), ("1.3 million weights", make_model("wide", folder), WIDTH)):
        request = {"inputs": [[0.5] * width]}

        def variant(name: str, request: dict[str, Any] = request, **env: str) -> Server:
            command = [sys.executable, "-m", "modelops_runtime", "serve"]
            answer: Callable[[Any], float] = lambda _answer: 2.0  # noqa: E731
            return Server(name, lambda _port: command, "/api/predict", request, answer, env=env)

        with ExitStack() as stack:
            factories = [lambda: variant("on", MODELOPS_BATCH_ROWS=str(BATCHES)), lambda: variant("off")]
            running = started(factories, model, folder, stack)
            if not all(isinstance(one, Running) for one in running):
                rows.append(failed(f"batching, {title}", None, BenchError(str(running))))
                continue
            runs = in_turn(running, options, 32)
        on, off = ([run.requests_per_second for run in runs[name]] for name in ("on", "off"))
        latencies = {name: spread(run.p99_ms for run in runs[name]) for name in ("on", "off")}
        more = {"reference": spread(off), "p99_ms": latencies}
        made = row(f"batches of up to {BATCHES} on against off, 32 callers, {title}", "requests/s", on, **more)
        made["runs"] = {name: raw(runs[name]) for name in ("on", "off")}
        rows.append(made)
    return rows


def show(rows: Sequence[Row]) -> None:
    def figure(value: dict[str, float] | None) -> str:
        return f"{value['median']:,.5g} ({value['low']:,.5g}-{value['high']:,.5g})" if value else "-"

    lines = [("row", "unit", "ours", "reference", "ratio", "goal", "met")]
    for entry in rows:
        met = {None: "-", True: "yes", False: "NO"}[entry["met"]]
        ratio = "-" if entry["ratio"] is None else f"{entry['ratio']:g} ×"
        lines.append(
            (entry["row"], entry["unit"], figure(entry["ours"]), figure(entry["reference"]), ratio, entry["goal"], met)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for entry in rows:
        if "error" in entry:
            print(f"{entry['row']}: {entry['error']}")
        if "versions" in entry:
            print(f"{entry['row'].removeprefix('throughput against ')}: {entry['versions']}")


def _kind(arguments: argparse.Namespace) -> str:
    if arguments.protocol:
        return "protocol"
    return "transports" if arguments.transports else "latest"


def main() -> None:
    parser = argparse.ArgumentParser(description="The model server against its goals and against other servers")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--protocol", action="store_true", help="only: our HTTP protocol class against uvicorn's own")
    parser.add_argument("--transports", action="store_true", help="only: HTTP and gRPC against each other")
    arguments = parser.parse_args()
    options = Options(arguments.seconds, arguments.rounds, arguments.connections)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that started servers are stopped
    generator = install()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        line = make_model("line", folder)
        if arguments.protocol:
            rows = protocols(line, folder, options)
        elif arguments.transports:
            rows = transports(line, folder, options)
        else:
            rows = throughput(line, folder, options)
            rows.append(starting(line, folder))
            rows += image_rows()
            rows += batching(line, folder, options)
    conditions = {"load": generator, "python": platform.python_version(), **asdict(options)}
    for entry in rows:
        entry["conditions"] = conditions
    results = RESULTS / f"{_kind(arguments)}.json"
    results.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    print(f"\n{conditions}; medians (quartiles); written to {results.relative_to(REPOSITORY)}\n")
    show(rows)


if __name__ == "__main__":
    main()
