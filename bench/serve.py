"""The model server against its goals and against others: `make bench`.

    python -m bench.serve [--seconds 5] [--rounds 5] [--connections 16] [--protocol]

One worker on the first core, the load on the last. All servers are started, then measured in turn, round after round,
while the others stand still: what else the machine does hits all alike. Figures are medians over the rounds.
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
from bench.load import BenchError, Run, install, load
from bench.models import WIDTH
from bench.servers import Running, Server
from devkit.paths import REPOSITORY

RESULTS = REPOSITORY / "bench" / "results"
FIRST_PORT = 18930
PACED_SHARE = 0.7
STARTS = 5
BATCHES = 64
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    seconds: float
    rounds: int
    connections: int


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median and quartiles."""
    found = list(values)
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


def row(
    name: str, unit: str, ours: Sequence[float], goal: str, met: Callable[[float], bool] | None, **more: Any
) -> Row:
    """A line of the table. `met` judges the ratio where there is a reference, else our own median."""
    mine = spread(ours)
    reference = more.pop("reference", None)
    ratio = round(mine["median"] / reference["median"], 2) if reference else None
    judged = met(mine["median"] if ratio is None else ratio) if met else None
    return {
        "row": name,
        "unit": unit,
        "ours": mine,
        "reference": reference,
        "ratio": ratio,
        "goal": goal,
        "met": judged,
        "runs": {"ours": [round(value, 3) for value in ours], **more.pop("runs", {})},
        **more,
    }


def failed(name: str, goal: str, error: Exception) -> Row:
    """A line without a figure, and why."""
    missing = {"ours": None, "reference": None, "ratio": None, "met": None if goal == "-" else False}
    return {"row": name, "unit": "", "goal": goal, **missing, "runs": {}, "error": str(error)[-1000:]}


def make_model(kind: str, folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "bench.models", kind, str(folder / kind)], cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"the model {kind} can't be made: {done.stderr[-2000:]}")
    return folder / kind


def started(wanted: Sequence[Callable[[], Server]], model: Path, folder: Path, stack: ExitStack) -> list[Any]:
    """Each server, running and standing still; in place of one that can't be had the error."""
    found: list[Any] = []
    for number, make in enumerate(wanted):
        try:
            server = make()
            print(f"starting {server.name}", flush=True)
            running = Running(server, model, FIRST_PORT + number, folder / f"server-{number}.log")
            stack.callback(running.stop)
            load(running.url, server.body, seconds=1, connections=4)  # what is made on first use
            running.pause()
            found.append(running)
        except (BenchError, OSError) as error:
            print(f"  {error}", flush=True)
            found.append(error)
    return found


def in_turn(
    running: Sequence[Any], options: Options, connections: int, rates: Mapping[str, float] | None = None
) -> dict[str, list[Run]]:
    """Runs by server, round after round; at most at its own of the `rates`."""
    runs: dict[str, list[Run]] = {one.server.name: [] for one in running}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        for one in running:
            one.resume()
            try:
                rate = rates[one.server.name] if rates else None
                made = load(one.url, one.server.body, seconds=options.seconds, connections=connections, rate=rate)
            finally:
                one.pause()
            runs[one.server.name].append(made)
    return runs


def raw(runs: Sequence[Run]) -> list[dict[str, float]]:
    return [{key: round(value, 3) for key, value in asdict(run).items()} for run in runs]


def throughput(model: Path, folder: Path, options: Options) -> list[Row]:
    """Ours against each of the others, and against the best of the three model servers."""
    made = {name: folder / name for name in ("mlserver", "bentoml")}
    for place in made.values():
        place.mkdir()
    others: list[tuple[str, Callable[[], Server]]] = [
        ("FastAPI + Keras tf.function", servers.fastapi_keras),
        ("KServe", servers.kserve),
        ("MLServer", lambda: servers.mlserver(made["mlserver"])),
        ("BentoML", lambda: servers.bentoml(made["bentoml"])),
    ]
    with ExitStack() as stack:
        wanted = [servers.ours, servers.ours_by_open_protocol, *(make for _name, make in others)]
        found = started(wanted, model, folder, stack)
        mine, protocol = found[:2]
        if not isinstance(mine, Running) or not isinstance(protocol, Running):
            raise SystemExit(f"our own server can't be measured: {mine} {protocol}")
        runs = in_turn([one for one in found if isinstance(one, Running)], options, options.connections)
        memory = {one.server.name: one.memory_mb() for one in found if isinstance(one, Running)}
        noted = {one.server.name: servers.versions(one.server) for one in found if isinstance(one, Running)}
        paced = _paced(mine, runs[mine.server.name], options)
    rates = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
    ours = rates["modelops"]
    rows: list[Row] = []
    for (name, _make), one in zip(others, found[2:], strict=True):
        goal, met = ("≥ 10 ×", lambda ratio: ratio >= 10) if "Keras" in name else ("-", None)
        title = f"throughput against {name}"
        if isinstance(one, Exception):
            rows.append(failed(title, goal, one))
            continue
        raws = {"runs": {"ours": raw(runs["modelops"]), "reference": raw(runs[name])}}
        more = {
            "reference": spread(rates[name]),
            "versions": noted[name],
            "reference_memory_mb": round(memory[name], 1),
        }
        rows.append({**row(title, "requests/s", ours, goal, met, **more), **raws})
    rows.insert(1, _best([name for name, _make in others[1:]], rates))
    rows.append(row("throughput by the Open Inference Protocol", "requests/s", rates[protocol.server.name], "-", None))
    rows.append(paced)
    rows.append(row("memory after the load", "MB", [memory["modelops"]], "≤ 100 MB", lambda value: value <= 100))
    return rows


def _best(names: Sequence[str], rates: dict[str, list[float]]) -> Row:
    known = {name: statistics.median(rates[name]) for name in names if name in rates}
    title = "throughput against the best model server"
    if not known:
        return failed(title, "≥ 2 ×", BenchError("none of them could be measured"))
    best = max(known, key=lambda name: known[name])
    missing = sorted(set(names) - known.keys())
    title += f" ({best})" + (f", without {' and '.join(missing)}" if missing else "")
    reference = spread(rates[best])
    return row(title, "requests/s", rates["modelops"], "≥ 2 ×", lambda ratio: ratio >= 2, reference=reference)


def _paced(mine: Running, peaks: Sequence[Run], options: Options) -> Row:
    rate = PACED_SHARE * statistics.median(run.requests_per_second for run in peaks)
    mine.resume()
    runs = [
        load(mine.url, mine.server.body, seconds=options.seconds, connections=options.connections, rate=rate)
        for _round in range(options.rounds)
    ]
    values = [run.p99_ms for run in runs]
    found = row("p99 at 70% of its own peak", "ms", values, "≤ 5 ms", lambda value: value <= 5, aimed_at=round(rate))
    found["runs"]["ours"] = raw(runs)
    return found


def protocols(model: Path, folder: Path, options: Options) -> list[Row]:
    """Ours, and ours on uvicorn's own HTTP protocol: whether a protocol class of our own is still worth its lines."""
    wanted = [servers.ours, servers.ours_on_the_stock_protocol, servers.fastapi_keras, servers.kserve]
    with ExitStack() as stack:
        found = started(wanted, model, folder, stack)
        if errors := [one for one in found if not isinstance(one, Running)]:
            raise SystemExit(f"not every server can be measured: {errors}")
        ours = found[:2]
        before = [processor_time(one) for one in ours]
        runs = in_turn(found, options, options.connections)
        spent = [_microseconds(earlier, processor_time(one)) for earlier, one in zip(before, ours, strict=True)]
        peaks = {name: statistics.median(run.requests_per_second for run in made) for name, made in runs.items()}
        rates = {one.server.name: PACED_SHARE * peaks[one.server.name] for one in ours}
        paced = in_turn(ours, options, options.connections, rates)
    peak = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
    p99 = {name: [run.p99_ms for run in made] for name, made in paced.items()}
    mine, stock, keras, best = (one.server.name for one in found)
    rows = [
        row("our protocol against uvicorn's own", "requests/s", peak[mine], "-", None, reference=spread(peak[stock]))
    ]
    rows[0]["ratio"] = by_round(peak[mine], peak[stock])
    rows.append(row("processor time a request, the same two", "µs", spent[:1], "-", None, reference=spread(spent[1:])))
    for name in (mine, stock):
        for other, goal in ((keras, 10), (best, 2)):
            title = f"{name} against {other}"
            ratio = by_round(peak[name], peak[other])
            made = row(title, "requests/s", peak[name], f"≥ {goal} ×", None, reference=spread(peak[other]))
            rows.append({**made, "ratio": ratio, "met": ratio >= goal})
        title = f"{name}: p99 at 70% of its own peak"
        rows.append(row(title, "ms", p99[name], "≤ 5 ms", lambda value: value <= 5, aimed_at=round(rates[name])))
    return rows


def processor_time(one: Running) -> tuple[float, float]:
    """What one of our servers has used so far, and for how many requests: steadier than the clock on a busy machine."""
    one.resume()
    try:
        return one.metric("process_cpu_seconds_total"), one.metric("modelops_requests_total")
    finally:
        one.pause()


def _microseconds(before: tuple[float, float], after: tuple[float, float]) -> float:
    seconds, requests = (late - early for early, late in zip(before, after, strict=True))
    return 1e6 * seconds / requests


def by_round(ours: Sequence[float], reference: Sequence[float]) -> float:
    """The median of each round's ratio: a busy moment of the machine hits neighbours in a round alike."""
    return round(statistics.median(mine / other for mine, other in zip(ours, reference, strict=True)), 2)


def starting(model: Path, folder: Path) -> Row:
    seconds = []
    for number in range(STARTS):
        running = Running(servers.ours(), model, FIRST_PORT + 20, folder / f"start-{number}.log")
        running.stop()
        seconds.append(running.seconds_to_answer)
    return row("from exec to the first right answer", "s", seconds, "≤ 1 s", lambda value: value <= 1)


def image_rows() -> list[Row]:
    try:
        packed, unpacked = image.beyond_its_base("serve")
    except (BenchError, OSError) as error:
        return [failed("serving image beyond its base", "≤ 150 MB", error)]
    limit: Callable[[float], bool] = lambda value: value <= 150  # noqa: E731
    return [
        row("serving image beyond its base, unpacked", "MB", [unpacked], "≤ 150 MB", limit),
        row("serving image beyond its base, packed", "MB", [packed], "-", None),
    ]


def batching(line: Path, folder: Path, options: Options) -> list[Row]:
    """Batches of waiting requests on and off, for a model where each costs next to nothing and for a larger one."""
    rows = []
    for title, model, width in (("the sample", line, 1), ("1.3 million weights", make_model("wide", folder), WIDTH)):
        request = {"inputs": [[0.5] * width]}

        def variant(name: str, request: dict[str, Any] = request, **env: str) -> Server:
            command = [sys.executable, "-m", "modelops_runtime", "serve"]
            answer: Callable[[Any], float] = lambda _answer: 2.0  # noqa: E731
            return Server(name, lambda _port: command, "/api/predict", request, answer, env=env)

        with ExitStack() as stack:
            wanted = [lambda: variant("on", MODELOPS_BATCH_ROWS=str(BATCHES)), lambda: variant("off")]
            found = started(wanted, model, folder, stack)
            if not all(isinstance(one, Running) for one in found):
                rows.append(failed(f"batching, {title}", "-", BenchError(str(found))))
                continue
            runs = in_turn(found, options, 32)
        on, off = ([run.requests_per_second for run in runs[name]] for name in ("on", "off"))
        latencies = {name: spread(run.p99_ms for run in runs[name]) for name in ("on", "off")}
        more = {"reference": spread(off), "p99_ms": latencies}
        made = row(
            f"batches of up to {BATCHES} on against off, 32 callers, {title}", "requests/s", on, "-", None, **more
        )
        made["runs"] = {name: raw(runs[name]) for name in ("on", "off")}
        rows.append(made)
    return rows


def show(rows: Sequence[Row]) -> None:
    def figure(value: dict[str, float] | None) -> str:
        return f"{value['median']:,.5g} ({value['low']:,.5g}-{value['high']:,.5g})" if value else "-"

    lines = [("row", "unit", "ours", "reference", "ratio", "goal", "met")]
    for found in rows:
        met = {None: "-", True: "yes", False: "NO"}[found["met"]]
        ratio = "-" if found["ratio"] is None else f"{found['ratio']:g} ×"
        lines.append(
            (found["row"], found["unit"], figure(found["ours"]), figure(found["reference"]), ratio, found["goal"], met)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for found in rows:
        if "error" in found:
            print(f"{found['row']}: {found['error']}")
        if "versions" in found:
            print(f"{found['row'].removeprefix('throughput against ')}: {found['versions']}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The model server against its goals and against others")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--protocol", action="store_true", help="only: our HTTP protocol class against uvicorn's own")
    given = parser.parse_args()
    options = Options(given.seconds, given.rounds, given.connections)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # what was started is stopped
    generator = install()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        line = make_model("line", folder)
        if given.protocol:
            rows = protocols(line, folder, options)
        else:
            rows = throughput(line, folder, options)
            rows.append(starting(line, folder))
            rows += image_rows()
            rows += batching(line, folder, options)
    conditions = {"load": generator, "python": platform.python_version(), **asdict(options)}
    for found in rows:
        found["conditions"] = conditions
    results = RESULTS / ("protocol.json" if given.protocol else "latest.json")
    results.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    print(f"\n{conditions}; medians (quartiles); written to {results.relative_to(REPOSITORY)}\n")
    show(rows)


if __name__ == "__main__":
    main()
