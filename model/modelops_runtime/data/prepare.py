"""From raw data to versioned, split training data: `modelops-prepare`. Contract and exit codes: docs/model.md.

Leaves `<destination>/<data_version>/` with `train/`, `validation/` and `test/` (Parquet), `preprocessing.json` and
`report.json`; then `<destination>/latest.json`. All appears at once on a file system; in an object store `report.json`
comes last, and what has none is not there.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelops_runtime.artifacts.prepared import PROFILE_PAGE, REPORT
from modelops_runtime.contract import ConfigurationError, ContractError, DataContract, Environment
from modelops_runtime.data.progress import Progress, shown, those_done

if TYPE_CHECKING:
    from modelops_runtime.data.storage import Place

SNAPSHOTS = "snapshots/pins.json"
"""In the work folder: which versions of tables the workers read."""
POLL_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.02
"""Shards of equal size end almost together; a pause is twice the one before, up to POLL_SECONDS."""


def read_pipeline(declared: str) -> Any:
    """Raises ConfigurationError when it is not JSON."""
    try:
        return json.loads(Path(declared[1:]).read_text() if declared.startswith("@") else declared)
    except OSError as error:
        raise ConfigurationError(f"--pipeline: {declared[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"--pipeline is not JSON: {error}") from error


def main(words: list[str] | None = None) -> None:
    with shown(say) as progress:
        run(words, progress)


def run(words: list[str] | None, progress: Progress) -> None:
    env = Environment()
    settings = DataContract.read(env, words)
    env.check()
    declared = read_pipeline(settings.pipeline)

    from modelops_runtime.data.context import Context
    from modelops_runtime.data.pipeline import Pipeline
    from modelops_runtime.data.profile import newest
    from modelops_runtime.data.storage import Place
    from modelops_runtime.data.table import InMemory

    # Transformers, which other packages import as well where it is there, says that there is no PyTorch.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    pipeline = Pipeline.parse(declared)
    in_shards = settings.shards > 1 or settings.engine == "dask"
    if settings.engine == "dask":
        pipeline.check_pieces()
    place = Place(settings.destination)
    context = Context(salt=settings.salt, progress=progress)
    if in_shards:
        pipeline = pinned(pipeline, place, settings)
    progress.doing("reading the inputs for the version's name")
    inputs = [] if settings.data_version else pipeline.state()
    version = settings.data_version or ("" if settings.shard else pipeline.version(context.salt))
    if version and place.has(f"{version}/{REPORT}"):
        say(f"{version} is there already: nothing to do")
        place.clean(version)
        if in_shards and not settings.shard:
            place.remove(settings.work_folder)
        place.mark_latest(version)
        leave_name(settings, version)
        return
    started = time.monotonic()
    inputs = inputs or pipeline.state()
    context.before = newest(place)
    if in_shards:
        run = pipeline.run_version(context.salt, settings.shards)
        write_shard(pipeline, place, settings, context, mark_of(run, settings.shard, version), inputs)
        if settings.shard:
            if settings.engine == "dask":
                from modelops_runtime.data import dask_cluster

                progress.doing("working for shard 0")
                dask_cluster.work(place, settings.work_folder, settings.wait_seconds)
            return
        finish = spread_out if settings.engine == "dask" else merged
        try:
            with pieces_of_shards(place, settings, context, run, version) as pieces:
                finish(pieces, pipeline, place, settings, context, version)
        except (Published, FileNotFoundError):  # another run removes the pieces when it has published the version
            if not place.has(f"{version}/{REPORT}"):
                raise
            say(f"another run has published {version} meanwhile: it stays")
        place.mark_latest(version)
        place.remove(settings.work_folder)
    else:
        rows = [pipeline.whole(context, say)]
        pipeline.require_unchanged(inputs)
        place.publish(version, pipeline.finish(InMemory(rows.pop()), context, say))
        place.mark_latest(version)
    log_quality(settings, place, version)
    leave_name(settings, version)
    say(f"data_version {version}, {time.monotonic() - started:.1f} s")


def pinned(pipeline: Any, place: "Place", settings: DataContract) -> Any:
    """The same for all workers of a run, and all of its retries: of tables, the versions that the first one found."""
    if not any(source.is_table for source in pipeline.sources):
        return pipeline
    name = f"{settings.work_folder}/{SNAPSHOTS}"
    if not place.has(name):
        place.create_text(name, json.dumps(pipeline.pins()))
    return pipeline.pinned(json.loads(place.read_text(name)))


def leave_name(settings: DataContract, version: str) -> None:
    """The version's name, for the program that started this and uses it next: usually a pod's termination message."""
    if settings.version_file:
        settings.version_file.write_text(version)


def log_quality(settings: DataContract, place: "Place", version: str) -> None:
    """Logs the version's counts where there is a registry. The version exists, so a failure is only printed."""
    from modelops_runtime.registry.publishing import quality

    if not settings.tracking_uri:
        return
    try:
        report = json.loads(place.read_text(f"{version}/{REPORT}"))
        page = place.read_text(f"{version}/{PROFILE_PAGE}")
        quality.log(settings.tracking_uri, settings.pipeline_name, version, report, {PROFILE_PAGE: page})
    except (OSError, ValueError, KeyError) as error:
        say(f"the registry {settings.tracking_uri} did not take the counts: {type(error).__name__}")


def write_shard(
    pipeline: Any, place: "Place", settings: DataContract, context: Any, mark: str, inputs: list[list[str]]
) -> None:
    """This worker's share, each row by itself; a marker comes last, so that a retry ends at once. `inputs` is what they
    were before the run's name was made of them."""
    marker = marker_of(settings, settings.shard)
    if is_done(place, marker, mark):
        return
    pieces = []
    for file, chunk, frame in pipeline.shard(settings.shard, settings.shards, context):
        name = f"{settings.work_folder}/{mark}/part-{file:06}-{chunk:08}.parquet"
        place.write_table(name, frame, index=True)
        if len(frame):
            pieces.append((name, len(frame), int(frame.index[0])))
    pipeline.require_unchanged(inputs)
    place.write_text(marker, json.dumps({"run": mark, "report": context.report, "pieces": pieces}))
    context.report.clear()
    say(f"shard {settings.shard} of {settings.shards} is done")


def marker_of(settings: DataContract, shard: int) -> str:
    return f"{settings.work_folder}/done-{shard:04}.json"


def mark_of(run: str, shard: int, version: str) -> str:
    """The run as a shard's marker names it. The first worker, who knows the version, names that too: a query is its
    own, whose rows may be others by now."""
    return run if shard else f"{run}-{version}"


def is_done(place: "Place", marker: str, mark: str) -> bool:
    """Whether a shard of this run is done: a marker that another run left, say before an input changed, is not."""
    return place.has(marker) and json.loads(place.read_text(marker)).get("run") == mark


Pieces = list[tuple[str, int, int]]
"""Name, number of rows and first index of each file."""


class Published(Exception):
    """Another run has published the version meanwhile."""


def merged(pieces: Pieces, pipeline: Any, place: "Place", settings: DataContract, context: Any, version: str) -> None:
    """All shards' rows in this memory, in the order in which one worker has them."""
    import pandas as pd

    from modelops_runtime.data.table import InMemory

    def rows() -> InMemory:  # has no name here: as long as it had one, its memory would be in use
        return InMemory(pd.concat([place.read_table(name) for name, _rows, _first in pieces]))

    place.publish(version, pipeline.finish(rows(), context, say))


def spread_out(
    pieces: Pieces, pipeline: Any, place: "Place", settings: DataContract, context: Any, version: str
) -> None:
    """All shards' rows stay where they are, and all workers process them."""
    from modelops_runtime.data import dask_table

    with dask_table.engine(place, settings.work_folder, settings.shards, context.progress) as engine:
        place.publish(version, pipeline.finish(engine.open(pieces, context), context, say))


@contextmanager
def pieces_of_shards(place: "Place", settings: DataContract, context: Any, run: str, version: str) -> Iterator[Pieces]:
    """What all shards of this run wrote, in the order of the rows. Waits for the others.

    A data error is final: the pieces are then removed. Raises ContractError when the others take too long.
    """
    from modelops_runtime.data import errors

    markers = {marker_of(settings, shard): mark_of(run, shard, version) for shard in range(settings.shards)}
    deadline, pause = time.monotonic() + settings.wait_seconds, FIRST_PAUSE_SECONDS
    missing = [*markers]
    context.progress.doing("waiting", those_done([*markers], lambda marker: marker not in missing, "shards"))
    while missing := [marker for marker, mark in markers.items() if not is_done(place, marker, mark)]:
        if place.has(f"{version}/{REPORT}"):
            raise Published
        if time.monotonic() > deadline:
            raise ContractError(
                f"{len(missing)} of {settings.shards} shards are not done after {settings.wait_seconds:g} s"
            )
        time.sleep(pause)
        pause = min(2 * pause, POLL_SECONDS)
    context.progress.doing("combining the shards")
    pieces: Pieces = []
    for marker in markers:
        done = json.loads(place.read_text(marker))
        context.report += done["report"]
        pieces += [(name, rows, first) for name, rows, first in done["pieces"]]
    say(f"{sum(rows for _name, rows, _first in pieces):,} rows of {settings.shards} shards")
    try:
        if not pieces:
            raise errors.empty("reading the sources")
        yield sorted(pieces, key=lambda piece: piece[2])
    except errors.DataError:
        place.remove(settings.work_folder)
        raise


def say(line: str) -> None:
    print(line, flush=True)
