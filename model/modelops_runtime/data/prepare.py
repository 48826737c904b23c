"""From raw data to versioned, split training data: `modelops-prepare`. Contract and exit codes: docs/model.md.

Leaves `<destination>/<data_version>/` with `train/`, `validation/` and `test/` (Parquet), `preprocessing.json` and
`report.json`; then `<destination>/latest.json`. All appears at once on a file system; in an object store `report.json`
comes last, and what has none is not there.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelops_runtime.contract import ConfigurationError, ContractError, Environment

if TYPE_CHECKING:
    from modelops_runtime.data.storage import Place

ENGINES = ("memory", "dask")
POLL_SECONDS = 0.5


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What was given on the command line, or else by variables."""
    env = Environment()
    shards = env.integer("MODELOPS_SHARDS", 1, minimum=1, maximum=1000)
    shard = env.integer("JOB_COMPLETION_INDEX", 0, minimum=0, maximum=999)
    wait = env.number("MODELOPS_SHARDS_WAIT_SECONDS", 3600, minimum=0, maximum=2_592_000)
    engine = env.text("MODELOPS_ENGINE", "memory", pattern="|".join(ENGINES), rule=" or ".join(ENGINES))
    parser = argparse.ArgumentParser(prog="modelops-prepare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--pipeline",
        default=env.text("MODELOPS_PIPELINE", ""),
        help="JSON of the pipeline, or @ and a file's name ($MODELOPS_PIPELINE)",
    )
    parser.add_argument(
        "--destination",
        default=env.text("MODELOPS_DESTINATION", ""),
        help="folder or s3:// address that the versions come into ($MODELOPS_DESTINATION)",
    )
    parser.add_argument(
        "--data-version",
        default=env.text("MODELOPS_DATA_VERSION", ""),
        help="name of the version; default: a hash of inputs, steps and code ($MODELOPS_DATA_VERSION)",
    )
    parser.add_argument("--shards", type=int, default=shards, help="workers, each with its share ($MODELOPS_SHARDS)")
    parser.add_argument("--shard", type=int, default=shard, help="which of them, from 0 on ($JOB_COMPLETION_INDEX)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=engine,
        help="where what looks at all rows is done: memory of shard 0, or dask on all of them ($MODELOPS_ENGINE)",
    )
    parser.add_argument(
        "--work",
        default=env.text("MODELOPS_WORK", "work"),
        help="name under which the workers of one run meet in the destination ($MODELOPS_WORK)",
    )
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=wait,
        help="how long shard 0 waits for the others ($MODELOPS_SHARDS_WAIT_SECONDS)",
    )
    given = parser.parse_args(words)
    for name, value in (("--pipeline", given.pipeline), ("--destination", given.destination)):
        if not value:
            env.problems.append(f"{name} is not given")
    for name, value in (("--data-version", given.data_version), ("--work", given.work)):
        if value and not value.replace("-", "").replace(".", "").replace("_", "").isalnum():
            env.problems.append(f"{name} is {value!r}, must be letters, digits, '-', '.' and '_'")
    if not 0 <= given.shard < given.shards:
        env.problems.append(f"--shard is {given.shard}, must be 0 to {given.shards - 1}")
    env.check()
    return given


def read_pipeline(given: str) -> Any:
    """Raises ConfigurationError when it is no JSON."""
    try:
        return json.loads(Path(given[1:]).read_text() if given.startswith("@") else given)
    except OSError as error:
        raise ConfigurationError(f"--pipeline: {given[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"--pipeline is not JSON: {error}") from error


def main(words: list[str] | None = None) -> None:
    given = arguments(words)
    declared = read_pipeline(given.pipeline)

    from modelops_runtime.data.context import Context
    from modelops_runtime.data.pipeline import Pipeline
    from modelops_runtime.data.storage import REPORT, Place
    from modelops_runtime.data.table import Whole

    pipeline = Pipeline.parse(declared)
    in_shards = given.shards > 1 or given.engine == "dask"
    pipeline.check_shards(in_shards=in_shards)
    if given.engine == "dask":
        pipeline.check_pieces()
    place = Place(given.destination)
    context = Context(salt=os.environ.get("MODELOPS_SALT", "").encode())
    version = given.data_version or ("" if given.shard else pipeline.version(context.salt))
    if version and place.has(f"{version}/{REPORT}"):
        say(f"{version} is there already: nothing to do")
        place.mark_latest(version)
        leave_name(version)
        return
    started = time.monotonic()
    if in_shards:
        write_shard(pipeline, place, given, context)
        if given.shard:
            if given.engine == "dask":
                from modelops_runtime.data import dask_table

                dask_table.work(place, _folder(given), given.wait_seconds)
            return
        finish = spread_out if given.engine == "dask" else merged
        finish(pipeline, place, given, context, version)
        place.mark_latest(version)
        place.remove(_folder(given))
    else:
        place.publish(version, pipeline.finish(Whole(pipeline.whole(context, say)), context, say))
        place.mark_latest(version)
    tell_registry(place, version)
    leave_name(version)
    say(f"data_version {version}, {time.monotonic() - started:.1f} s")


def leave_name(version: str) -> None:
    """The version's name, for whoever started this and goes on with it: a pod's termination message mostly."""
    if file := os.environ.get("MODELOPS_VERSION_FILE"):
        Path(file).write_text(version)


def tell_registry(place: "Place", version: str) -> None:
    """The version's counts, where there is a registry. The version is there: what the registry can't take is said."""
    from modelops_runtime.data.storage import REPORT
    from modelops_runtime.registry import quality

    tracking_uri, pipeline = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("MODELOPS_PIPELINE_NAME", "data")
    if not tracking_uri:
        return
    try:
        quality.log(tracking_uri, pipeline, version, json.loads(place.read_text(f"{version}/{REPORT}")))
    except (OSError, ValueError, KeyError) as error:
        say(f"the registry {tracking_uri} did not take the counts: {type(error).__name__}")


def write_shard(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any) -> None:
    """This worker's share, each row by itself; a marker comes last, so that another try of it ends at once."""
    marker = f"{_folder(given)}/done-{given.shard:04}.json"
    if place.has(marker):
        return
    pieces = []
    for file, chunk, frame in pipeline.shard(given.shard, given.shards, context, say):
        name = f"{_folder(given)}/part-{file:06}-{chunk:08}.parquet"
        place.write_table(name, frame, index=True)
        if len(frame):
            pieces.append((name, len(frame), int(frame.index[0])))
    place.write_text(marker, json.dumps({"report": context.report, "pieces": pieces}))
    context.report.clear()
    say(f"shard {given.shard} of {given.shards} is done")


def merged(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any, version: str) -> None:
    """All shards' rows in this memory, in the order in which one worker has them."""
    import pandas as pd

    from modelops_runtime.data.table import Whole

    with pieces_of_shards(place, given, context) as pieces:
        rows = pd.concat([place.read_table(name) for name, _rows, _first in pieces])
        place.publish(version, pipeline.finish(Whole(rows), context, say))


def spread_out(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any, version: str) -> None:
    """All shards' rows stay where they are, and all workers go on with them."""
    from modelops_runtime.data import dask_table

    with (
        pieces_of_shards(place, given, context) as pieces,
        dask_table.engine(place, _folder(given), given.shards) as engine,
    ):
        place.publish(version, pipeline.finish(engine.open(pieces, context), context, say))


@contextmanager
def pieces_of_shards(place: "Place", given: argparse.Namespace, context: Any) -> Iterator[list[tuple[str, int, int]]]:
    """Name, number of rows and first index of what all shards wrote, in the order of the rows. Waits for the others.

    What is wrong with the data is final: then the pieces go. Raises ContractError when the others take too long.
    """
    from modelops_runtime.data import errors

    markers = [f"{_folder(given)}/done-{shard:04}.json" for shard in range(given.shards)]
    deadline = time.monotonic() + given.wait_seconds
    while missing := [marker for marker in markers if not place.has(marker)]:
        if time.monotonic() > deadline:
            raise ContractError(f"{len(missing)} of {given.shards} shards are not done after {given.wait_seconds:g} s")
        time.sleep(POLL_SECONDS)
    pieces: list[tuple[str, int, int]] = []
    for marker in markers:
        done = json.loads(place.read_text(marker))
        context.report += done["report"]
        pieces += [(name, rows, first) for name, rows, first in done["pieces"]]
    say(f"{sum(rows for _name, rows, _first in pieces):,} rows of {given.shards} shards")
    try:
        if not pieces:
            raise errors.empty("reading the sources")
        yield sorted(pieces)
    except errors.DataError:
        place.remove(_folder(given))
        raise


def _folder(given: argparse.Namespace) -> str:
    return f".{given.work}"


def say(line: str) -> None:
    print(line, flush=True)
