"""From raw data to versioned, split training data: `python -m model.prepare`. Contract and exit codes: docs/model.md.

Leaves `<destination>/<data_version>/` with `train/`, `validation/` and `test/` (Parquet), `preprocessing.json` and
`report.json`; then `<destination>/latest.json`. All appears at once on a file system; in an object store `report.json`
comes last, and what has none is not there.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model import contract
from model.contract import ConfigurationError, ContractError, Environment
from model.preprocessing import FILE_NAME

REPORT = "report.json"
LATEST = "latest.json"
ENGINES = ("memory", "dask")
POLL_SECONDS = 0.5


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What was given on the command line, or else by variables."""
    env = Environment()
    shards = env.integer("MODELOPS_SHARDS", 1, minimum=1, maximum=1000)
    shard = env.integer("JOB_COMPLETION_INDEX", 0, minimum=0, maximum=999)
    wait = env.number("MODELOPS_SHARDS_WAIT_SECONDS", 3600, minimum=0, maximum=2_592_000)
    engine = env.text("MODELOPS_ENGINE", "memory", pattern="|".join(ENGINES), rule=" or ".join(ENGINES))
    parser = argparse.ArgumentParser(prog="python -m model.prepare", description=(__doc__ or "").split("\n")[0])
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

    from model.steps.base import Context
    from model.steps.pipeline import Pipeline
    from model.steps.rows import Whole

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
                from model.steps import spread

                spread.work(place, _folder(given), given.wait_seconds)
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
    from model import quality

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

    from model.steps.rows import Whole

    with pieces_of_shards(place, given, context) as pieces:
        rows = pd.concat([place.read_table(name) for name, _rows, _first in pieces])
        place.publish(version, pipeline.finish(Whole(rows), context, say))


def spread_out(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any, version: str) -> None:
    """All shards' rows stay where they are, and all workers go on with them."""
    from model.steps import spread

    with (
        pieces_of_shards(place, given, context) as pieces,
        spread.engine(place, _folder(given), given.shards) as engine,
    ):
        place.publish(version, pipeline.finish(engine.open(pieces, context), context, say))


@contextmanager
def pieces_of_shards(place: "Place", given: argparse.Namespace, context: Any) -> Iterator[list[tuple[str, int, int]]]:
    """Name, number of rows and first index of what all shards wrote, in the order of the rows. Waits for the others.

    What is wrong with the data is final: then the pieces go. Raises ContractError when the others take too long.
    """
    from model.steps import errors

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


class Place:
    """The destination: a folder, or a prefix in an object store."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError when there is no such kind of place."""
        from model.steps.read import opened

        try:
            self._system, path = opened(uri)
        except (ValueError, ImportError, OSError) as error:
            raise ConfigurationError(f"--destination is {uri!r}, must be a folder or s3:// address: {error}") from error
        self._uri = uri
        self._root = str(path).rstrip("/")
        self._local = "file" in (self._system.protocol if isinstance(self._system.protocol, tuple) else [])

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self._uri,)

    def has(self, name: str) -> bool:
        self._system.invalidate_cache()
        return bool(self._system.exists(f"{self._root}/{name}"))

    def names(self, folder: str) -> list[str]:
        """Files under `folder`, relative to the place, in order."""
        self._system.invalidate_cache()
        return sorted(name[len(self._root) + 1 :] for name in self._system.find(f"{self._root}/{folder}"))

    def read_text(self, name: str) -> str:
        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return str(stream.read().decode())

    def write_text(self, name: str, text: str) -> None:
        with self._whole(name) as stream:
            stream.write(text.encode())

    def read_table(self, name: str, columns: list[str] | None = None) -> Any:
        import pandas as pd

        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return pd.read_parquet(stream, columns=columns)

    def read_schema(self, name: str) -> Any:
        """A table without its rows."""
        import pyarrow.parquet

        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return pyarrow.parquet.ParquetFile(stream).schema_arrow.empty_table().to_pandas()

    def write_table(self, name: str, frame: Any, *, index: bool = False) -> None:
        with self._whole(name) as stream:
            frame.to_parquet(stream, index=index)

    def remove(self, folder: str) -> None:
        self._system.rm(f"{self._root}/{folder}", recursive=True)

    def mark_latest(self, version: str) -> None:
        """Says which version is the newest."""
        self.write_text(LATEST, json.dumps({"data_version": version}) + "\n")

    def publish(self, version: str, prepared: Any) -> None:
        """All of a version, or nothing of it."""
        if not self._local:
            self._write_version(version, version, prepared)
            return
        Path(self._root).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=self._root))
        try:
            self._write_version(folder.name, version, prepared)
            folder.chmod(0o755)
            folder.rename(Path(self._root, version))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_version(self, folder: str, version: str, prepared: Any) -> None:
        say(f"writing {version}")
        for name, rows in prepared.parts.items():
            rows.write(self, f"{folder}/{name}")
        self.write_text(f"{folder}/{FILE_NAME}", prepared.preprocessing.text())
        report = {"data_version": version, **prepared.report}
        self.write_text(f"{folder}/{REPORT}", json.dumps(report, indent=2) + "\n")

    @contextmanager
    def _whole(self, name: str) -> Iterator[Any]:
        """A file that appears when all of it is written."""
        path = f"{self._root}/{name}"
        if not self._local:
            with self._system.open(path, "wb") as stream:
                yield stream
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    contract.run(lambda: main(sys.argv[1:]))
