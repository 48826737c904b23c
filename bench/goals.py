"""What each figure should be. `make bench` and docs/performance.md judge by these alone."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """At least a number, or at most; of `×`, the figure is a ratio to what it is measured beside."""

    limit: float
    unit: str = "×"
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure reaches the goal."""
        return value <= self.limit if self.at_most else value >= self.limit

    def share(self, value: float) -> float:
        """How many times as good as the goal a figure is."""
        return self.limit / value if self.at_most else value / self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g} {self.unit}"


GOALS: Mapping[str, Goal] = {
    "preview": Goal(1.05, at_most=True),
    "unchanged up": Goal(3, at_most=True),
    "first up, kubectl": Goal(2, at_most=True),
    "first up, helm": Goal(1.5, at_most=True),
    "predict, Keras": Goal(15),
    "predict, model servers": Goal(8),
    "predict, bare runtime": Goal(0.9),
    "predict, larger models": Goal(0.8),
    "p99": Goal(5, "ms", at_most=True),
    "memory": Goal(65, "MB", at_most=True),
    "start": Goal(0.4, "s", at_most=True),
    "image": Goal(95, "MB", at_most=True),
    "mlflow, pyfunc": Goal(2),
    "mlflow, onnx": Goal(5),
    "training launch": Goal(1.05, at_most=True),
    "trainings": Goal(3, at_most=True),
    "data": Goal(1),
    "data, two workers": Goal(1.6),
    "unchanged image": Goal(0.05, at_most=True),
    "code-only change": Goal(0.01, at_most=True),
    "digests of ten builds": Goal(1, "digest", at_most=True),
    "import": Goal(1.1, at_most=True),
    "rendering, time": Goal(1.05, at_most=True),
    "rendering, memory": Goal(1.05, at_most=True),
}
