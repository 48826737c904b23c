"""What a run keeps in tags, as JSON: its final metrics and its parameters, by their own names and whole.

MLflow's own metrics have other names where it refuses one, and points of each epoch; its own parameters are text and
cut. A tag is cut too, so a record is spread over several: `modelops.metrics`, `modelops.metrics.1` … Standard library
only: the serving image transfers runs.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

METRICS = "modelops.metrics"
PARAMETERS = "modelops.parameters"
TAG_CHARACTERS = 5000
"""Of one tag. MLflow 3 cuts at 8,000 (`MAX_TAG_VAL_LENGTH` in `mlflow/utils/validation.py`), earlier ones at 5,000."""
MOST_BYTES = 900_000
"""Of one call: MLflow's API takes 1 MB (`MAX_BATCH_LOG_REQUEST_SIZE`)."""
MOST_BYTES_PER_CHARACTER = 12
"""In JSON, of a character outside of the basic plane."""
T = TypeVar("T")


def tags(key: str, content: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a record."""
    text = json.dumps(dict(content), sort_keys=True)
    starts = range(0, len(text), TAG_CHARACTERS)
    return {_tag(key, number): text[start : start + TAG_CHARACTERS] for number, start in enumerate(starts)}


def read(run_tags: Mapping[str, str], key: str) -> dict[str, Any] | None:
    """The record in a run's tags; None where there is none that is whole."""
    text = "".join(itertools.takewhile(bool, (run_tags.get(_tag(key, number), "") for number in itertools.count())))
    try:
        # Not `loads`: a longer record of an earlier attempt may have left tags behind the last one.
        content, _end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def final_metrics(run_tags: Mapping[str, str], latest: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a finished run. `latest`: MLflow's own, for a run that somebody else logged."""
    found = read(run_tags, METRICS)
    return {name: float(value) for name, value in (latest if found is None else found).items()}


def batches(items: Sequence[T], most: int, texts: Callable[[T], Sequence[str]]) -> Iterator[Sequence[T]]:
    """`items` in parts that one call of MLflow's API takes: of at most `most`, and not too long with their `texts`."""
    part: list[T] = []
    size = 0
    for item in items:
        own = 100 + MOST_BYTES_PER_CHARACTER * sum(map(len, texts(item)))
        if part and (len(part) == most or size + own > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part


def _tag(key: str, number: int) -> str:
    return f"{key}.{number}" if number else key
