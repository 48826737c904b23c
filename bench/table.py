"""The table of `make bench`: each figure of the library beside a named reference, with its goal, from bench/results."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import (
    Measured,
    Results,
    image_digests,
    image_pushed,
    image_unchanged,
    imported,
    larger_models,
    launched,
    prepared,
    previewed,
    rendering_memory,
    rendering_time,
    served,
    trained,
    updated,
)
from bench.goals import GOALS, Goal

RESULTS = Path(__file__).parent / "results"
LEAST_RUNS = 10


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


_SERVE, _MLFLOW = "python -m bench.serve", "python -m bench.mlflow_models"
_PREPARE, _TRAININGS = "python -m bench.data_pipeline --beside 1000000", "python -m bench.trainings"
_IMAGES, _RENDERING = "python -m bench.images", "python -m bench.rendering"
_UPDATES = "python -m bench.service_updates"
SERVICES = "a plain pulumi_kubernetes program with the same objects"
TABLE = [
    Line("`pulumi preview` of 1, 10, 50, 200 services", SERVICES, "preview", "python -m bench.service_previews",
         previewed),
    Line("unchanged `pulumi up`", "`kubectl diff` of the same objects", "unchanged up", _UPDATES,
         updated("unchanged up", "diff")),
    Line("first `up` of 50 services, no waiting", "`kubectl apply --server-side`", "first up, kubectl", _UPDATES,
         updated("up", "apply")),
    Line("first `up` of 50 services, no waiting", "`helm install`", "first up, helm", _UPDATES,
         updated("up", "helm", "no helm here")),
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
    Line("predict, 1 MB model and 100-column table", "the bare runtime in a loop", "predict, larger models",
         "python -m bench.larger_models", larger_models),
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
    Line("unchanged image build", "cold build", "unchanged image", _IMAGES, image_unchanged),
    Line("code-only change of an image, bytes pushed", "cold build", "code-only change", _IMAGES,
         image_pushed),
    Line("the same image built ten times, in different places and times", "–", "digests of ten builds", _IMAGES,
         image_digests),
    Line("`import modelops`", "`import pulumi_kubernetes`", "import", "python -m bench.imports", imported),
    Line("rendering the dev stack 1,000 times, time of one", "the first hundred", "rendering, time", _RENDERING,
         rendering_time),
    Line("rendering the dev stack 1,000 times, memory", "after the first hundred", "rendering, memory", _RENDERING,
         rendering_memory),
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
