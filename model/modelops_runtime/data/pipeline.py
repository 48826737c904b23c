"""A pipeline: sources and steps in their order, declared as data; what it does to rows, in one process or in shards."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ConfigurationError, ContractError
from modelops_runtime.data import errors, fitting, profile, texts
from modelops_runtime.data.context import Context
from modelops_runtime.data.declared import kind_of, named, problems_of, problems_of_steps
from modelops_runtime.data.nested import JSON, settled
from modelops_runtime.data.profile import Profile
from modelops_runtime.data.progress import Progress
from modelops_runtime.data.report import of_rows_read, summary
from modelops_runtime.data.running import apply, begin, on, require_single
from modelops_runtime.data.sources.columns import Batch, index_of, to_frame, united
from modelops_runtime.data.sources.reading import Reading
from modelops_runtime.data.sources.rows import Portion, chunks, finding, portions, table_schema
from modelops_runtime.data.sources.rows import settled as with_types
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.step import Step, canonical
from modelops_runtime.data.steps import STEPS
from modelops_runtime.data.steps.conversations import Conversations
from modelops_runtime.data.steps.generalise import Promise
from modelops_runtime.data.steps.images import ImageFeatures
from modelops_runtime.data.steps.split import Split
from modelops_runtime.data.table import Rows
from modelops_runtime.data.version import NamedFiles, changed, code_version, state

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
        if problems := problems_of_steps(self.steps, self.target):
            raise ValueError("\n".join(problems))
        return self

    @classmethod
    def parse(cls, value: object) -> "Pipeline":
        """Raises ConfigurationError with every problem: field, value and rule."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise ConfigurationError(*(text for detail in error.errors() for text in problems_of(detail))) from None

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
            "inputs": [[source.digest() for source in self.sources if source.is_table], self.state()],
            "code": code_version(self._libraries()),
            "salt": _of_salt(salt),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:VERSION_LENGTH]

    def state(self) -> list[list[str]]:
        """What storage says of the input files without reading them. Raises DataError."""
        files = [source.files() for source in self.sources if not source.is_table and source.format != "sql"]
        return [entry for of_source in files for entry in state(of_source)]

    def require_unchanged(self, before: Sequence[list[str]]) -> None:
        """Raises ContractError where a file is not as it was `before`, so that what was read may be of two moments.
        Of HTTP nobody knows: one address may be several servers, each with its own word for the same content."""
        if (file := changed(before, self.state())) and not file.startswith(("http://", "https://")):
            raise ContractError(f"{file} changed while the inputs were read: prepare again when nobody writes there")

    def _libraries(self) -> set[str]:
        of_sources = {name for source in self.sources for name in source.libraries}
        return of_sources | {name for step in self.plan for name in step.libraries}

    def pins(self) -> list[dict[str, Any]]:
        """What each source says to have the snapshot of a table that is the newest now; of others nothing. Raises
        DataError."""
        return [dict(source.snapshot.pin) if source.is_table else {} for source in self.sources]

    def pinned(self, pins: Sequence[Mapping[str, Any]]) -> "Pipeline":
        """The same with these snapshots."""
        sources = [
            Source(**{**source.model_dump(exclude_unset=True), **pin}) if pin else source
            for source, pin in zip(self.sources, pins, strict=True)
        ]
        return self.model_copy(update={"sources": sources})

    @property
    def _has_query(self) -> bool:
        return any(source.format == "sql" for source in self.sources)

    def _shaping(self, source: Source) -> dict[str, Any]:
        """A source without its address, unless that stays in the rows; the order of an object's names is the rows'."""
        left_out = {name for step in self.plan for name in named(step) if step.name in ("drop", "image_features")}
        left_out -= {step.column for step in self.plan if isinstance(step, ImageFeatures) and step.keep}
        stays = source.format == "images" and "uri" not in left_out
        declared = source.model_dump(mode="json", exclude={"table_version"} if stays else {"uri", "table_version"})
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
            of_source = source.files()
            for frame in chunks(source, of_source, at) if source.format != "images" else []:
                as_read = column in frame and not any(column in named(step) for step in before)
                rows = frame if as_read else apply(before, frame, context, 0)
                if column in rows:
                    files.add(rows[column])
            at += len(of_source)
        return files.hexdigest()

    def first_global(self) -> int:
        """How many steps, from the first on, look at each row by itself: what shards do."""
        for number, step in enumerate(self.plan):
            if kind_of(step) != "row":
                return number
        raise AssertionError("a pipeline has a split")

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
        context.progress.doing("finding out the types of columns")
        found = [
            (next(iter(files), source.uri), table_schema(source, files, self._texts))
            for source, files in zip(self.sources, listed, strict=True)
        ]
        schema = united(found)
        if shard == 0:
            self._report_sources(listed, found, schema, context)
        steps, turn = self.plan[: self.first_global()], 0
        portions = [*itertools.chain(*self._portions(listed, shards))]
        as_wholes = len(portions) >= shards
        own = portions[shard::shards] if as_wholes else portions
        context.progress.doing("reading", reading := Reading([portion.files[0] for portion in own]))
        within = replace(context, progress=Progress())  # the steps of a chunk are part of its reading
        for at, portion in enumerate(own):
            for chunk, batch in enumerate(portion.batches()):
                turn += 1
                is_own = as_wholes or (turn - 1) % shards == shard
                reading.chunk(at, portion.source, batch.file, len(batch.table), kept=is_own)
                if not is_own or not len(batch.table):
                    continue
                frame = to_frame(with_types(portion.source, batch, schema), index_of([batch]))
                context.report.append(of_rows_read(frame))
                yield portion.number, chunk, settled(apply(steps, frame, within, 0), self._json_columns(schema))

    def whole(self, context: Context, say: Say) -> pd.DataFrame:
        """All rows after the steps that look at each row by itself. Raises DataError."""
        of_sources = self._portions(listed := self._listed(context), 1)
        batches: list[tuple[Source, Batch]] = []
        found = [finding(source, self._texts) for source in self.sources]
        portions = [(columns, portion) for columns, own in zip(found, of_sources, strict=True) for portion in own]
        context.progress.doing("reading", reading := Reading([portion.files[0] for _columns, portion in portions]))
        for at, (columns, portion) in enumerate(portions):
            for batch in portion.batches():
                columns.add(batch)
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
            tables.append(with_types(source, batch, schema))
            del batch
        frame = to_frame(pa.concat_tables(tables), index)
        del tables
        context.report.append(of_rows_read(frame))
        rows = apply(self.plan[: self.first_global()], frame, context, 0)
        return settled(rows, self._json_columns(schema))

    def _report_sources(
        self, listed: list[list[str]], own: Sequence[tuple[str, pa.Schema]], schema: pa.Schema, context: Context
    ) -> None:
        for number, (source, files, (_file, of_source)) in enumerate(zip(self.sources, listed, own, strict=True)):
            entries = list(source.report(number, files, of_source.names, schema))
            context.report += entries
            for folder in next(iter(entries), {}).get("without_images", []):
                print(f"sources[{number}]: there is no image in {folder}: it is no label", flush=True)
            for name, lacking in next(iter(entries), {}).get("lacking", {}).items():
                problem = (
                    f"sources[{number}]: {len(lacking)} of {len(files)} files lack column {name}: it is missing there"
                )
                print(problem, flush=True)

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
        rows = on(plan[first:at], rows, context, first, promises)
        if not rows.count():
            raise errors.empty("what comes before the split")
        split = plan[at]
        assert isinstance(split, Split)
        begin(at, split, rows.count(), context)
        parts = split.parts(rows, context)
        del rows  # whose memory then is free
        say("split: " + ", ".join(f"{part.count():,} {name}" for name, part in parts.items()))
        after = plan[at + 1 :]
        by_row = [step for step in after if not step.fitted]
        parts = {name: on(by_row, part, context, at + 1, promises) for name, part in parts.items()}
        for name, part in parts.items():
            if not part.count():
                raise errors.empty(f"the part {name}, after the split,")
        operations = [operation for step in (*plan[:at], *by_row) for operation in step.operations()]
        for step in after:
            if step.fitted:
                require_single(step, parts["train"].nested, context)
                begin(plan.index(step), step, parts["train"].count(), context)
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
        return [name for step in self.plan if step.protects for name in named(step)]

    @staticmethod
    def _json_columns(schema: pa.Schema) -> set[str]:
        return {entry.name for entry in schema if entry.type == JSON}

    def _listed(self, context: Context) -> list[list[str]]:
        """The files of each source."""
        listed = [source.files() for source in self.sources]
        context.files = [file for files in listed for file in files]
        return listed

    def _portions(self, listed: list[list[str]], shards: int) -> list[list[Portion]]:
        """What workers take as a whole, of each source."""
        firsts = itertools.accumulate(map(len, listed), initial=0)
        of_sources = zip(self.sources, listed, firsts, strict=False)
        return [portions(source, files, first, shards) for source, files, first in of_sources]


def _of_salt(salt: bytes) -> str:
    return hashlib.sha256(b"modelops data version\0" + salt).hexdigest()
