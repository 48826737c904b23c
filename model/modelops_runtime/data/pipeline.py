"""A pipeline: sources and steps in their order, declared as data; what it does to rows, in one process or in shards."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data import errors, fitting, profile, texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.nested import JSON, is_nested, settled
from modelops_runtime.data.profile import Profile
from modelops_runtime.data.progress import Progress
from modelops_runtime.data.sources.columns import Batch, index_of, to_frame, united
from modelops_runtime.data.sources.reading import Reading
from modelops_runtime.data.sources.source import Portion, Source
from modelops_runtime.data.step import Step, canonical
from modelops_runtime.data.steps import STEPS
from modelops_runtime.data.steps.clean import Fill
from modelops_runtime.data.steps.conversations import Conversations
from modelops_runtime.data.steps.generalise import Generalise, Promise
from modelops_runtime.data.steps.images import ImageFeatures
from modelops_runtime.data.steps.split import Split
from modelops_runtime.data.table import Rows, added
from modelops_runtime.data.version import NamedFiles, code_version, state
from modelops_runtime.data.violations import first

VERSION_LENGTH = 12
Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What a pipeline makes."""

    parts: Mapping[str, Rows]
    """`train`, `validation` and `test`."""
    preprocessing: Preprocessing
    report: dict[str, Any]
    profile: Profile


class Pipeline(BaseModel):
    """Declared as `{"sources": […], "steps": [{"check": {…}}, …, {"split": {…}}, …, {"scale": {…}}], "target": "y"}`.

    Exactly one step is a split. Before it come steps that look at all rows (deduplicate, generalise); after it what
    looks at several rows of a part (fill by interpolate or previous), and last what is fitted.
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
        split: Split | None = None
        for number, declared in enumerate(self.steps):
            step = _read_step(number, declared, problems)
            if step is None:
                continue
            kind = _kind(step)
            if kind == "fitted" and "split" not in kinds:
                problems.append(f"steps[{number}] ({step.name}) is fitted on the training split: must be after split")
            if kind == "table" and "split" in kinds:
                problems.append(f"steps[{number}] ({step.name}) looks at all rows: must be before split")
            if kind == "part" and "split" not in kinds:
                problems.append(f"steps[{number}] ({step.name}) looks at neighbours: must be after split")
            split = step if isinstance(step, Split) else split
            if isinstance(step, Fill) and split is not None and (ahead := step.looks_ahead(split)):
                problems.append(f"steps[{number}] ({step.name}) {ahead}")
            if kind in ("row", "part") and "fitted" in kinds:
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
        """`data_version`: twelve hex digits over all that shapes the rows: the content of the inputs, of files that
        rows name and of models that steps read; the declaration, the code, the libraries of these steps, and the salt
        where a step uses it.

        Where the inputs are is no part of it. Raises DataError when one can't be read.
        """
        plan = self.plan
        content = {
            "inputs": [source.digest() for source in self.sources],
            "sources": [self._shaping(source) for source in self.sources],
            "steps": [{step.name: step.model_dump(mode="json", exclude=set(step.addresses))} for step in plan],
            "target": self.target,
            "read by steps": [step.content() for step in plan],
            "named by rows": [self._named_files(number, salt) for number in range(len(plan))],
            "code": code_version(self._libraries()),
            "salt": _of_salt(salt) if any(step.salted for step in plan) else "",
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:VERSION_LENGTH]

    def run_version(self, salt: bytes, shards: int) -> str:
        """Names what the workers of one run share, without reading the inputs as `version` does: what one worker left
        is used by others with the same declaration, number of shards, code and salt, while no file has changed.
        Raises DataError."""
        content = {
            "pipeline": self.model_dump(mode="json"),
            "shards": shards,
            "inputs": [state(source.files()) for source in self.sources if source.format != "sql"],
            "code": code_version(self._libraries()),
            "salt": _of_salt(salt),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:VERSION_LENGTH]

    def _libraries(self) -> set[str]:
        of_sources = {"sqlalchemy"} if self._has_query else set[str]()
        return of_sources | {name for step in self.plan for name in step.libraries}

    @property
    def _has_query(self) -> bool:
        return any(source.format == "sql" for source in self.sources)

    def _shaping(self, source: Source) -> dict[str, Any]:
        """A source without its address, unless that stays in the rows; the order of an object's names is the rows'."""
        left_out = {name for step in self.plan for name in _named(step) if step.name in ("drop", "image_features")}
        left_out -= {step.column for step in self.plan if isinstance(step, ImageFeatures) and step.keep}
        stays = source.format == "images" and "uri" not in left_out
        declared = source.model_dump(mode="json", exclude=set() if stays else {"uri"})
        return declared | ({"columns": list(source.types)} if source.format == "jsonl" else {})

    def _named_files(self, number: int, salt: bytes) -> str:
        """What files named in a column contain, for the step that reads them; a source of images has its own digest."""
        plan = self.plan
        if (column := plan[number].column_of_files) is None:
            return ""
        files, context = NamedFiles(), Context(files=self.files(), salt=salt)
        before = plan[: min(number, self.first_global())]
        at = 0
        for source in self.sources:
            for file in source.files():
                for frame in source.chunks(file, at) if source.format != "images" else []:
                    as_read = column in frame and not any(column in _named(step) for step in before)
                    rows = frame if as_read else _apply(before, frame, context, 0)
                    if column in rows:
                        files.add(rows[column])
                at += 1
        return files.hexdigest()

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

    def shard(self, shard: int, shards: int, context: Context) -> Iterator[tuple[int, int, pd.DataFrame]]:
        """(file, chunk, rows) after the steps that look at each row by itself: of every `shards`-th file, or of every
        `shards`-th chunk where there are fewer files than shards; a query's rows are the first worker's.

        Memory: one chunk. Raises DataError and ConfigurationError.
        """
        listed = self._listed(context)
        if self._has_query:  # which would see another moment if another worker ran it
            if shard:
                return
            shards = 1
        found = [source.table_schema(of, self._texts) for source, of in zip(self.sources, listed, strict=True)]
        schema = united(found)
        if shard == 0:
            self._report_sources(listed, found, schema, context)
        steps, turn = self.plan[: self.first_global()], 0
        portions = self._portions(listed, shards)
        as_wholes = len(portions) >= shards
        own = portions[shard::shards] if as_wholes else portions
        context.progress.doing("reading", reading := Reading([portion.files[0] for portion in own]))
        within = replace(context, progress=Progress())  # the steps of a chunk are part of its reading
        for at, portion in enumerate(own):
            for chunk, batch in enumerate(portion.batches()):
                turn += 1
                is_own = as_wholes or (turn - 1) % shards == shard
                reading.chunk(at, portion.source, batch.file, len(batch.table), kept=is_own)
                if not is_own:
                    continue
                if unnamed := [name for name in batch.table.column_names if name not in schema.names]:
                    raise ConfigurationError(f"{batch.file}: types lacks column {', '.join(unnamed)}")
                frame = to_frame(portion.source.settled(batch, schema), index_of([batch]))
                context.report.append(_raw(frame))
                yield portion.number, chunk, settled(_apply(steps, frame, within, 0), self._json_columns(schema))

    def whole(self, context: Context, say: Say) -> pd.DataFrame:
        """All rows after the steps that look at each row by itself. Raises DataError."""
        portions = self._portions(listed := self._listed(context), 1)
        batches: list[tuple[Source, Batch]] = []
        found = [source.finding(self._texts) for source in self.sources]
        context.progress.doing("reading", reading := Reading([portion.files[0] for portion in portions]))
        for at, portion in enumerate(portions):
            for batch in portion.batches():
                found[self.sources.index(portion.source)].add(batch)
                batches.append((portion.source, batch))
                reading.chunk(at, portion.source, batch.file, len(batch.table))
        if not reading.rows:
            raise errors.empty("reading the sources")
        say(f"read {reading.rows:,} rows of {len(context.files)} files")
        # Named by files: an address may have a password in it.
        schemas = [(files[0], columns.schema()) for files, columns in zip(listed, found, strict=True)]
        schema = united(schemas)
        self._report_sources(listed, schemas, schema, context)
        index = index_of([batch for _source, batch in batches])
        tables = []
        while batches:
            source, batch = batches.pop(0)  # whose text then goes
            tables.append(source.settled(batch, schema))
            del batch
        frame = to_frame(pa.concat_tables(tables), index)
        del tables
        context.report.append(_raw(frame))
        rows = _apply(self.plan[: self.first_global()], frame, context, 0)
        return settled(rows, self._json_columns(schema))

    def _report_sources(
        self, listed: list[list[str]], own: Sequence[tuple[str, pa.Schema]], schema: pa.Schema, context: Context
    ) -> None:
        for number, (source, files, (_file, of_source)) in enumerate(zip(self.sources, listed, own, strict=True)):
            context.report += source.report(number, files, of_source.names, schema)

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
        first, plan, promises = self.first_global(), self.plan, list[Promise]()
        if not rows.count():
            raise errors.empty("the check of each row")
        texts.require_one_format(context)
        at = next(number for number, step in enumerate(plan) if isinstance(step, Split))
        rows = _on(plan[first:at], rows, context, first, promises)
        if not rows.count():
            raise errors.empty("what comes before the split")
        split = plan[at]
        assert isinstance(split, Split)
        context.progress.doing(_shown(at, split, rows.count()))
        parts = split.parts(rows, context)
        say("split: " + ", ".join(f"{part.count():,} {name}" for name, part in parts.items()))
        after = plan[at + 1 :]
        by_row = [step for step in after if not step.fitted]
        parts = {name: _on(by_row, part, context, at + 1, promises) for name, part in parts.items()}
        for name, part in parts.items():
            if not part.count():
                raise errors.empty(f"the part {name}, after the split,")
        operations = [operation for step in (*plan[:at], *by_row) for operation in step.operations()]
        for step in after:
            if step.fitted:
                _require_single(step, parts["train"].nested, context)
                context.progress.doing(_shown(plan.index(step), step, parts["train"].count()))
                fitted = fitting.finite(step.fit(parts["train"], context))
                say(f"fitted {step.name} on the training split")
                for operation in fitted:
                    before = parts["train"].columns
                    parts = {name: part.transformed(operation, context) for name, part in parts.items()}
                    for promise in promises:
                        after_it = parts["train"].columns
                        promise.follow(step.name, [operation["column"]], before, after_it, removed=False)
                operations += fitted
        outputs = tuple(str(column) for column in parts["train"].columns if column != self.target)
        if self.target is not None:
            context.require(parts["train"], [self.target])
        for promise in promises:
            promise.judge(parts, context)
        report = self._report(parts, context)
        context.progress.doing("counting for the profile")
        profiled = profile.of(parts, operations, self._protected, context.before)
        context.progress.doing("writing")
        return Prepared(
            parts=parts, preprocessing=Preprocessing.of(outputs, operations), report=report, profile=profiled
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
    def _protected(self) -> list[str]:
        """Columns of which nobody is to see a value, not even those that are left."""
        return [name for step in self.plan if step.protects for name in _named(step)]

    @staticmethod
    def _json_columns(schema: pa.Schema) -> set[str]:
        return {entry.name for entry in schema if entry.type == JSON}

    def _listed(self, context: Context) -> list[list[str]]:
        """The files of each source."""
        listed = [source.files() for source in self.sources]
        context.files = [file for files in listed for file in files]
        return listed

    def _portions(self, listed: list[list[str]], shards: int) -> list[Portion]:
        """What workers take as a whole, of all sources in their order."""
        firsts = itertools.accumulate(map(len, listed), initial=0)
        of_sources = zip(self.sources, listed, firsts, strict=False)
        return [portion for source, files, first in of_sources for portion in source.portions(files, first, shards)]


def _of_salt(salt: bytes) -> str:
    return hashlib.sha256(b"modelops data version\0" + salt).hexdigest()


def _raw(frame: pd.DataFrame) -> dict[str, Any]:
    """The report's entry for the rows as they were read."""
    missing = frame.isna().sum()
    return {"read": len(frame), "missing": {str(column): int(count) for column, count in missing.items() if count}}


def summary(entries: Iterable[Mapping[str, Any]], rows: Mapping[str, int]) -> dict[str, Any]:
    """The report: the same for one worker and for many. Has columns, files, rows' numbers and counts, but no values."""
    steps: dict[int, dict[str, Any]] = {}
    protected: dict[tuple[str, str], dict[str, Any]] = {}
    violations: list[Mapping[str, Any]] = []
    sources: list[Mapping[str, Any]] = []
    rows_read, missing, violation_count = 0, dict[str, int](), 0
    for entry in entries:
        if "read" in entry:
            rows_read += entry["read"]
            missing = added(missing, entry["missing"])
        elif "source" in entry:
            sources.append(entry)
        elif "violations" in entry:
            violations += entry["violations"]
            violation_count += entry["count"]
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
        "sources": sorted(sources, key=lambda entry: int(entry["source"])),
        "missing": dict(sorted(missing.items())),
        "rows": dict(rows),
        "steps": [steps[number] for number in sorted(steps)],
        "protected": [protected[key] for key in sorted(protected)],
        "violation_count": violation_count,
        "violations": [{"violation": one.pop("rule"), **one} for one in first(violations)],
    }


def _apply(steps: list[Step], frame: pd.DataFrame, context: Context, first: int) -> pd.DataFrame:
    for number, step in enumerate(steps, start=first):
        before = len(frame)
        context.progress.doing(_shown(number, step, before))
        _require_single(step, [name for name in _named(step) if name in frame and is_nested(frame[name])], context)
        frame = step.apply(frame, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": len(frame)}
        context.report.append(entry)
    return frame


def _on(steps: list[Step], rows: Rows, context: Context, first: int, promises: list[Promise]) -> Rows:
    for number, step in enumerate(steps, start=first):
        before, columns = rows.count(), rows.columns
        context.progress.doing(_shown(number, step, before))
        _require_single(step, rows.nested, context)
        rows = step.on(rows, context)
        entry = {"step": number, "name": step.name, "rows_before": before, "rows_after": rows.count()}
        context.report.append(entry)
        for promise in promises:
            promise.follow(step.name, _named(step), columns, rows.columns, removed=rows.count() < before)
        if isinstance(step, Generalise):
            promises.append(Promise(step, rows))
    return rows


def _shown(number: int, step: Step, rows: int) -> str:
    return f"steps[{number}] ({step.name}) of {rows:,} rows"


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
    return "row" if step.rowwise else "fitted" if step.fitted else "part" if step.in_part else "table"


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
