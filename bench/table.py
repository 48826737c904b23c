"""The table of `make bench`: each figure of the library beside a named reference, with its goal, from bench/results."""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.goals import GOALS, Goal

RESULTS = Path(__file__).parent / "results"
LEAST_RUNS = 10
Results = Mapping[str, Any]
"""What the files have, by their names."""


@dataclass(frozen=True)
class Measured:
    """What a line's figure is, and what it is made from. Without a figure, `note` says why."""

    value: float | None
    runs: int = 0
    ours: str = "–"
    reference: str = "–"
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the table. `read` finds its figure; without it, no program measures it yet."""

    what: str
    against: str
    goal: str
    command: str = ""
    read: Callable[[Results], Measured | None] | None = None

    def measured(self, results: Results) -> Measured:
        """The figure, or why there is none."""
        found = self.read(results) if self.read else Measured(None, note="no program measures it")
        return found or Measured(None, note=f"no result of `{self.command}`")

    @property
    def title(self) -> str:
        """What is measured, and beside what."""
        return self.what if self.against == "–" else f"{self.what}, beside {self.against}"

    @property
    def limit(self) -> Goal:
        """The goal."""
        return GOALS[self.goal]


def load(folder: Path = RESULTS) -> Results:
    """All results."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def rows(results: Results, file: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a file of servers' figures."""
    found = results.get(file, [])
    return found if isinstance(found, list) else found["rows"]


def spread(numbers: Mapping[str, float] | None, unit: str) -> str:
    """Median and quartiles."""
    if not numbers:
        return "–"
    middle, low, high = (f"{numbers[name]:,.{_digits(numbers['median'])}f}" for name in ("median", "low", "high"))
    return f"{middle} {unit}" if low == high else f"{middle} ({low}–{high}) {unit}"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def served(file: str, title: str) -> Callable[[Results], Measured | None]:
    """A row of a server's figures: its ratio where there is a reference, else its median."""

    def read(results: Results) -> Measured | None:
        row = next((each for each in rows(results, file) if each["row"].startswith(title)), None)
        if row is None:
            return None
        if row["ours"] is None:
            return Measured(None, note=row["error"])
        value = row["ours"]["median"] if row["ratio"] is None else row["ratio"]
        ours, reference = spread(row["ours"], row["unit"]), spread(row["reference"], row["unit"])
        return Measured(
            value, len(row["runs"]["ours"]), ours, reference, row["row"][len(title) :].strip(" ,()").replace("),", ",")
        )

    return read


def in_turns(ours: Sequence[float], others: Sequence[float], unit: str, note: str) -> Measured:
    """How many times the others' figures ours are: the median of the turns' ratios."""
    ratio = statistics.median(mine / other for mine, other in zip(ours, others, strict=True))
    cells = (spread(quartiles(each), unit) for each in (ours, others))
    return Measured(round(ratio, 3), len(ours), *cells, note)


def prepared(program: str) -> Callable[[Results], Measured | None]:
    """How many times as fast as the script a number of workers is."""

    def read(results: Results) -> Measured | None:
        beside = results.get("data_pipeline", {}).get("beside", {})
        if program not in beside:
            return None
        ours, script = ([turn["seconds"] for turn in beside[each]] for each in (program, "by hand"))
        found = in_turns(ours, script, "s", f"{beside['rows']:,} rows")
        speed = statistics.median(other / mine for mine, other in zip(ours, script, strict=True))
        return replace(found, value=round(speed, 3))

    return read


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles; of one value, that."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"low": low, "median": middle, "high": high}


def launched(results: Results) -> Measured | None:
    """From a training's Job to its pods, beside a plain Job of the same pods."""
    if not (found := results.get("training_job")):
        return None
    seconds = found["seconds_from_the_job"]
    return in_turns(
        seconds["TrainingJob"], seconds["plain Indexed Job of the same pods"], "s", "from the Job to its pods"
    )


def imported(results: Results) -> Measured | None:
    """The import of the library and of what it builds on, beside the latter alone."""
    found = results.get("imports")
    return found and in_turns(found["ours"], found["alone"], "processor s", "")


def trained(results: Results) -> Measured | None:
    """What the most trainings in one stack cost beside as many plain Jobs."""
    if not (counts := results.get("trainings")):
        return None
    count = max(counts, key=int)
    found = counts[count]["medians"]
    cells = (f"{found[kind]['work']:.3g} processor s" for kind in ("training", "plain"))
    return Measured(found["training"]["ratio"], len(counts[count]["runs"]["training"]), *cells, f"{count} trainings")


_SERVE, _MLFLOW = "python -m bench.serve", "python -m bench.mlflow_models"
_PREPARE, _TRAININGS = "python -m bench.data_pipeline --beside 1000000", "python -m bench.trainings"
SERVICES = "a plain pulumi_kubernetes program with the same objects"
TABLE = [
    Line("`pulumi preview` of 1, 10, 50, 200 services", SERVICES, "preview"),
    Line("unchanged `pulumi up` of the dev stack", "`kubectl diff` of the same objects", "unchanged up"),
    Line("first `up` of 50 services, no waiting", "`kubectl apply --server-side`", "first up, kubectl"),
    Line("first `up` of 50 services, no waiting", "`helm install`", "first up, helm"),
    Line(
        "predict, sample model", "FastAPI + Keras `tf.function`", "predict, Keras", _SERVE,
        served("latest", "throughput against FastAPI + Keras tf.function"),
    ),
    Line(
        "predict, sample model", "the best of MLServer, BentoML and KServe", "predict, model servers", _SERVE,
        served("latest", "throughput against the best model server"),
    ),
    Line("predict, sample model", "a bare LiteRT ASGI app", "predict, bare runtime", _SERVE,
         served("latest", "throughput against a bare LiteRT ASGI app")),
    Line("predict, 1 MB model and 100-column table", "the bare runtime in a loop", "predict, larger models"),
    Line("p99 at 70% of its own peak", "–", "p99", _SERVE, served("latest", "p99 at 70% of its own peak")),
    Line("memory after the load", "–", "memory", _SERVE, served("latest", "memory after the load")),
    Line("from exec to the first right answer", "–", "start", _SERVE,
         served("latest", "from exec to the first right answer")),
    Line("serving image beyond its base, unpacked", "–", "image", _SERVE,
         served("latest", "serving image beyond its base, unpacked")),
    *(
        Line(f"predict, {framework} from MLflow as {how}", "the best of MLServer, BentoML and MLflow",
             goal, _MLFLOW, served("mlflow", f"{title} as {how} against the best"))
        for title, framework in (("sklearn", "scikit-learn"), ("xgboost", "XGBoost"))
        for how, goal in (("pyfunc", "mlflow, pyfunc"), ("ONNX", "mlflow, onnx"))
    ),
    Line("training launch", "plain Indexed Job of the same pods", "training launch", "python -m bench.training_job",
         launched),
    Line("100 trainings in one stack, waits apart", "plain Jobs", "trainings", _TRAININGS, trained),
    Line("data pipeline, one worker", "plain pandas and scikit-learn", "data", _PREPARE, prepared("1 worker")),
    Line("data pipeline, two workers", "plain pandas and scikit-learn", "data, two workers", _PREPARE,
         prepared("2 workers")),
    Line("unchanged image build", "cold build", "unchanged image"),
    Line("code-only change of an image, bytes pushed", "cold build", "code-only change"),
    Line("the same image built ten times, in different places and times", "–", "digests of ten builds"),
    Line("`import modelops`", "`import pulumi_kubernetes`", "import", "python -m bench.imports", imported),
    Line("rendering the dev stack 1,000 times, time of one", "the first hundred", "rendering, time"),
    Line("rendering the dev stack 1,000 times, memory", "after the first hundred", "rendering, memory"),
]  # fmt: skip


def judged(results: Results) -> Iterator[tuple[Line, Measured, str]]:
    """Each line with its figure and whether the goal is met: yes, no, or `?` without a figure."""
    for line in TABLE:
        found = line.measured(results)
        met = "?" if found.value is None else "yes" if line.limit.met(found.value) else "**no**"
        yield line, found, met


def fallen(before: Results, after: Results, share: float = 0.1) -> list[str]:
    """The ratios that have become worse by more than a share since, by the goal's own sense of worse."""
    lines = []
    for line in TABLE:
        old, new = line.measured(before).value, line.measured(after).value
        if line.limit.unit == "×" and old and new and line.limit.share(new) < (1 - share) * line.limit.share(old):
            lines.append(f"{line.title}: {new:.3g} × instead of {old:.3g} ×")
    return lines
