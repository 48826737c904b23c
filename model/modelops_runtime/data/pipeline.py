"""A pipeline: sources and steps in their order, declared as data; what it does to rows, in one process or in shards."""

import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelops_runtime.artifacts.preprocessing import Operation, Preprocessing
from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import errors, texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.nested import is_nested, settled
from modelops_runtime.data.sources.source import CHUNK_ROWS, Source, suggested_types
from modelops_runtime.data.step import Step, canonical
from modelops_runtime.data.steps import STEPS
from modelops_runtime.data.steps.conversations import Conversations
from modelops_runtime.data.steps.split import Split
from modelops_runtime.data.table import Rows, added

VERSION_LENGTH = 12
Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What a pipeline makes."""

    parts: Mapping[str, Rows]
    """`train`, `validation` and `test`."""
    preprocessing: Preprocessing
    report: dict[str, Any]


class Pipeline(BaseModel):
    """Declared as `{"sources": […], "steps": [{"check": {…}}, …, {"split": {…}}, …, {"scale": {…}}], "target": "y"}`.

    Exactly one step is a split. Before it come steps that look at all rows (deduplicate, generalise, interpolate); what
    is fitted comes after it, and last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sources: list[Source] = Field(min_length=1)
    steps: list[dict[str, dict[str, Any]]] = Field(min_length=1)
    target: str | None = None
    """The column that a model learns to predict: no fitted step changes it, and clients don't send it."""

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> "Pipeline":
        problems: list[str] = []
        kinds: list[str] = []
        names: list[str] = []
        for number, declared in enumerate(self.steps):
            step = _read_step(number, declared, problems)
            if step is None:
                continue
            kind = _kind(step)
            if kind == "fitted" and "split" not in kinds:
                problems.append(f"steps[{number}] ({step.name}) is fitted on the training split: must be after split")
            if kind == "table" and "split" in kinds:
                problems.append(f"steps[{number}] ({step.name}) looks at all rows: must be before split")
            if kind == "row" and "fitted" in kinds:
                problems.append(f"steps[{number}] ({step.name}) must be before the steps that are fitted")
            if kind == "fitted" and self.target in _named(step):
                problems.append(f"steps[{number}] ({step.name}) must not change the target, {self.target}")
            if step.name == "conversations" and {*kinds} - {"row"}:
                problems.append(f"steps[{number}] (conversations) must be before the steps that look at all rows")
            kinds.append(kind)
            problems += texts.misplaced(f"steps[{number}] ({step.name})", step, _named(step), names)
            names.append(step.name)
        if not problems and kinds.count("split") != 1:
            problems.append(f"steps has {kinds.count('split')} split, must have one")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @classmethod
    def parse(cls, value: object) -> "Pipeline":
        """Raises ConfigurationError with every problem: field, value and rule."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise ConfigurationError(*(text for detail in error.errors() for text in _problems(detail))) from None

    @property
    def plan(self) -> list[Step]:
        """The steps, as what they are."""
        return [STEPS[name](**fields) for declared in self.steps for name, fields in declared.items()]

    def files(self) -> list[str]:
        """Every file of every source, in their order. Raises DataError."""
        return [file for source in self.sources for file in source.files()]

    def version(self, salt: bytes) -> str:
        """`data_version`: twelve hex digits over the content of the inputs, the declaration, the code and the salt.

        Where the inputs are is no part of it. Raises DataError when one can't be read.
        """
        declared = self.model_dump(mode="json")
        for source in declared["sources"]:
            source.pop("uri")
        content = {
            "inputs": [source.digest() for source in self.sources],
            "pipeline": declared,
            "read by steps": [step.content() for step in self.plan],
            "code": code_version(),
            "salt": hashlib.sha256(b"modelops data version\0" + salt).hexdigest() if salt else "",
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:VERSION_LENGTH]

    def first_global(self) -> int:
        """How many steps, from the first on, look at each row by itself: what shards do."""
        for number, step in enumerate(self.plan):
            if _kind(step) != "row":
                return number
        raise AssertionError("a pipeline has a split")

    def check_shards(self, *, in_shards: bool) -> None:
        """Raises ConfigurationError when several workers could understand a value differently."""
        problems = [
            f"sources[{number}].types is empty, must name the type of every column with shards or an engine"
            for number, source in enumerate(self.sources)
            if in_shards and source.format in ("csv", "jsonl") and not source.types
        ]
        if problems:
            raise ConfigurationError(*problems)

    def shard(self, shard: int, shards: int, context: Context, say: Say) -> Iterator[tuple[int, int, pd.DataFrame]]:
        """(file, chunk, rows) after the steps that look at each row by itself: of every `shards`-th file, or of every
        `shards`-th chunk where there are fewer files than shards.

        Memory: one chunk. Raises DataError and ConfigurationError.
        """
        context.files = self.files()
        steps, done, turn = self.plan[: self.first_global()], 0, 0
        by_file = len(context.files) >= shards
        for number, source, file in self._numbered():
            if by_file and number % shards != shard:
                continue
            for chunk, frame in enumerate(source.chunks(file, number)):
                turn += 1
                if not by_file and (turn - 1) % shards != shard:
                    continue
                unnamed = [name for name in frame.columns if name not in source.types]
                if source.format in ("csv", "jsonl") and unnamed:
                    raise ConfigurationError(f"{file}: types lacks column {', '.join(map(str, unnamed))}")
                done += len(frame)
                say(f"read {done:,} rows")
                context.report.append(_raw(frame))
                yield number, chunk, settled(_apply(steps, frame, context, 0), self._json_columns)

    def whole(self, context: Context, say: Say) -> pd.DataFrame:
        """All rows after the steps that look at each row by itself. Raises DataError."""
        context.files = self.files()
        of_sources: list[pd.DataFrame] = []
        done, number = 0, 0
        for source in self.sources:
            frames = []
            for file in source.files():
                for frame in source.chunks(file, number):
                    frames.append(frame)
                    context.report.append(_raw(frame))
                    done += len(frame)
                    if done // CHUNK_ROWS != (done - len(frame)) // CHUNK_ROWS:
                        say(f"read {done:,} rows")
                number += 1
            if frames:
                of_sources.append(suggested_types(pd.concat(frames), source, self._texts))
        if not of_sources or not done:
            raise errors.empty("reading the sources")
        say(f"read {done:,} rows of {number} files")
        rows = _apply(self.plan[: self.first_global()], pd.concat(of_sources), context, 0)
        return settled(rows, self._json_columns)

    def check_pieces(self) -> None:
        """Raises ConfigurationError when a step needs all rows in one memory."""
        problems = [
            f"steps[{number}] ({step.name}) needs all rows in one memory: not with the engine dask"
            for number, step in enumerate(self.plan)
            if not step.in_pieces
        ]
        if problems:
            raise ConfigurationError(*problems)

    def finish(self, rows: Rows, context: Context, say: Say) -> Prepared:
        """The steps that look at all rows, the split, and what is fitted on it. Raises DataError."""
        first, plan = self.first_global(), self.plan
        if not rows.count():
            raise errors.empty("the check of each row")
        texts.require_one_format(context)
        at = next(number for number, step in enumerate(plan) if isinstance(step, Split))
        rows = _on(plan[first:at], rows, context, first)
        if not rows.count():
            raise errors.empty("what comes before the split")
        split = plan[at]
        assert isinstance(split, Split)
        parts = split.parts(rows, context)
        say("split: " + ", ".join(f"{part.count():,} {name}" for name, part in parts.items()))
        after = plan[at + 1 :]
        by_row = [step for step in after if not step.fitted]
        parts = {name: _on(by_row, part, context, at + 1) for name, part in parts.items()}
        for name, part in parts.items():
            if not part.count():
                raise errors.empty(f"the part {name}, after the split,")
        inputs = tuple(str(column) for column in parts["train"].columns if column != self.target)
        operations: list[Operation] = []
        for step in after:
            if step.fitted:
                _require_single(step, parts["train"].nested, context)
                fitted = step.fit(parts["train"], context)
                say(f"fitted {step.name} on the training split")
                for operation in fitted:
                    parts = {name: part.transformed(operation, context) for name, part in parts.items()}
                operations += fitted
        outputs = tuple(str(column) for column in parts["train"].columns if column != self.target)
        if self.target is not None:
            context.require(parts["train"], [self.target])
        return Prepared(
            parts=parts,
            preprocessing=Preprocessing(inputs, outputs, tuple(operations)),
            report=self._report(parts, context),
        )

    def _report(self, parts: Mapping[str, Rows], context: Context) -> dict[str, Any]:
        report = summary(context.report, {name: part.count() for name, part in parts.items()})
        if not {"conversations", "near_duplicates"}.intersection(step.name for step in self.plan):
            return report
        return {**report, "texts": texts.summary(context, report, parts)}

    @property
    def _texts(self) -> set[str]:
        """Columns that are texts even where all of them look like numbers."""
        return {
            name for step in self.plan if isinstance(step, Conversations) for name in (*texts.COLUMNS, *step.rename)
        }

    @property
    def _json_columns(self) -> set[str]:
        return {name for source in self.sources for name, kind in source.types.items() if kind == "json"}

    def _numbered(self) -> Iterator[tuple[int, Source, str]]:
        number = 0
        for source in self.sources:
            for file in source.files():
                yield number, source, file
                number += 1


def code_version() -> str:
    """A hash of this code and of the libraries whose results it hands on."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for file in sorted([*(package / "data").rglob("*.py"), package / "artifacts" / "preprocessing.py"]):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    digest.update(f"{np.__version__} {pd.__version__} {platform.python_version_tuple()[:2]}".encode())
    return digest.hexdigest()


def _raw(frame: pd.DataFrame) -> dict[str, Any]:
    """The report's entry for the rows as they were read."""
    missing = frame.isna().sum()
    return {"read": len(frame), "missing": {str(column): int(count) for column, count in missing.items() if count}}


def summary(entries: Iterable[Mapping[str, Any]], rows: Mapping[str, int]) -> dict[str, Any]:
    """The report: the same for one worker and for many. Has columns, files, rows' numbers and counts, but no values."""
    steps: dict[int, dict[str, Any]] = {}
    protected: dict[tuple[str, str], dict[str, Any]] = {}
    violations: list[Mapping[str, Any]] = []
    rows_read, missing = 0, dict[str, int]()
    for entry in entries:
        if "read" in entry:
            rows_read += entry["read"]
            missing = added(missing, entry["missing"])
        elif "violation" in entry:
            violations.append(entry)
        elif "texts" in entry:
            continue
        elif "step" in entry:
            step = steps.setdefault(entry["step"], {**entry, "rows_before": 0, "rows_after": 0})
            step["rows_before"] += entry["rows_before"]
            step["rows_after"] += entry["rows_after"]
        else:
            column, by = entry.get("protected", entry.get("scanned")), entry.get("by", "scan_text")
            column_entry = protected.setdefault((column, by), {"column": column, "by": by})
            for key, value in entry.items():
                if key in ("values", "removed_rows"):
                    column_entry[key] = column_entry.get(key, 0) + value
                elif key == "found":
                    old = column_entry.setdefault("found", {})
                    column_entry["found"] = {
                        kind: old.get(kind, 0) + value.get(kind, 0) for kind in sorted({*old, *value})
                    }
                elif key not in ("protected", "scanned", "by"):
                    column_entry[key] = value
    return {
        "rows_read": rows_read,
        "missing": dict(sorted(missing.items())),
        "rows": dict(rows),
        "steps": [steps[number] for number in sorted(steps)],
        "protected": [protected[key] for key in sorted(protected)],
        "violations": sorted(violations, key=lambda entry: (entry["file"], entry["row"], entry["column"])),
    }


def _apply(steps: list[Step], frame: pd.DataFrame, context: Context, first: int) -> pd.DataFrame:
    for number, step in enumerate(steps, start=first):
        before = len(frame)
        _require_single(step, [name for name in _named(step) if name in frame and is_nested(frame[name])], context)
        frame = step.apply(frame, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": len(frame)}
        context.report.append(entry)
    return frame


def _on(steps: list[Step], rows: Rows, context: Context, first: int) -> Rows:
    for number, step in enumerate(steps, start=first):
        before = rows.count()
        _require_single(step, rows.nested, context)
        rows = step.on(rows, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": rows.count()}
        context.report.append(entry)
    return rows


def _named(step: Step) -> list[str]:
    """The columns that a step's declaration names."""
    return [*(getattr(step, "columns", None) or []), *filter(None, [getattr(step, "column", None)])]


def _require_single(step: Step, nested: Iterable[str], context: Context) -> None:
    """Raises DataError when a step is to treat lists or objects as if they were numbers or texts."""
    for column in nested:
        if column in _named(step) and not step.takes_nested:
            files = ", ".join(context.files) or "the data"
            raise errors.DataError(
                f"{files}, column {column} has lists or objects, which {step.name} can't take: of messages, scan_text"
                " masks each text, and conversations checks them",
                code=Exit.BAD_ROW,
            )


def _kind(step: Step) -> str:
    if isinstance(step, Split):
        return "split"
    return "row" if step.rowwise else "fitted" if step.fitted else "table"


def _read_step(number: int, declared: dict[str, dict[str, Any]], problems: list[str]) -> Step | None:
    if len(declared) != 1:
        problems.append(f"steps[{number}] has {len(declared)} names, must have one")
        return None
    ((name, fields),) = declared.items()
    if name not in STEPS:
        problems.append(f"steps[{number}] is {name!r}, must be one of {', '.join(sorted(STEPS))}")
        return None
    try:
        return STEPS[name](**fields)
    except ValidationError as error:
        problems += [text for detail in error.errors() for text in _problems(detail, f"steps[{number}].{name}")]
        return None


def _problems(detail: Any, under: str = "") -> list[str]:
    """pydantic's problem in our words: field, value and rule."""
    path = under
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    rules = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if detail["type"] == "missing":
        return [f"{path} is missing"]
    if detail["type"] == "extra_forbidden":
        return [f"{path} is not known"]
    if detail["type"] == "value_error":
        return [f"{path}: {rule}" if path else rule for rule in rules.split("\n")]
    return [f"{path} is {detail['input']!r}, {rules}"]
