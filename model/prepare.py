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

REPORT = "report.json"
LATEST = "latest.json"
POLL_SECONDS = 0.5


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What was given on the command line, or else by variables."""
    env = Environment()
    shards = env.integer("MODELOPS_SHARDS", 1, minimum=1, maximum=1000)
    shard = env.integer("JOB_COMPLETION_INDEX", 0, minimum=0, maximum=999)
    wait = env.number("MODELOPS_SHARDS_WAIT_SECONDS", 3600, minimum=0, maximum=2_592_000)
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

    pipeline = Pipeline.parse(declared)
    pipeline.check_shards(given.shards)
    place = Place(given.destination)
    context = Context(salt=os.environ.get("MODELOPS_SALT", "").encode())
    version = given.data_version or ("" if given.shard else pipeline.version(context.salt))
    if version and place.has(f"{version}/{REPORT}"):
        say(f"{version} is there already: nothing to do")
        place.mark_latest(version)
        leave_name(version)
        return
    started = time.monotonic()
    if given.shards > 1:
        write_shard(pipeline, place, given, context)
        if given.shard:
            return
        prepared = merged(pipeline, place, given, context)
    else:
        prepared = pipeline.finish(pipeline.whole(context, say), context, say)
    say(f"writing {version}")
    place.publish(version, prepared)
    place.mark_latest(version)
    if given.shards > 1:
        place.remove(_folder(given))
    leave_name(version)
    say(f"data_version {version}, {time.monotonic() - started:.1f} s")


def leave_name(version: str) -> None:
    """The version's name, for whoever started this and goes on with it: a pod's termination message mostly."""
    if file := os.environ.get("MODELOPS_VERSION_FILE"):
        Path(file).write_text(version)


def write_shard(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any) -> None:
    """This worker's share, each row by itself; a marker comes last, so that another try of it ends at once."""
    marker = f"{_folder(given)}/done-{given.shard:04}.json"
    if place.has(marker):
        return
    for file, chunk, frame in pipeline.shard(given.shard, given.shards, context, say):
        place.write_table(f"{_folder(given)}/part-{file:06}-{chunk:08}.parquet", frame, index=True)
    place.write_text(marker, json.dumps(context.report))
    context.report.clear()
    say(f"shard {given.shard} of {given.shards} is done")


def merged(pipeline: Any, place: "Place", given: argparse.Namespace, context: Any) -> Any:
    """What all shards' rows become. What is wrong with the data is final: then their pieces go too."""
    from model.steps.errors import DataError

    try:
        return pipeline.finish(gathered(place, given, context), context, say)
    except DataError:
        place.remove(_folder(given))
        raise


def gathered(place: "Place", given: argparse.Namespace, context: Any) -> Any:
    """The rows of all shards in the order in which one worker has them, and the reports. Waits for the others.

    Raises ContractError when they take too long.
    """
    import pandas as pd

    markers = [f"{_folder(given)}/done-{shard:04}.json" for shard in range(given.shards)]
    deadline = time.monotonic() + given.wait_seconds
    while missing := [marker for marker in markers if not place.has(marker)]:
        if time.monotonic() > deadline:
            raise ContractError(f"{len(missing)} of {given.shards} shards are not done after {given.wait_seconds:g} s")
        time.sleep(POLL_SECONDS)
    for marker in markers:
        context.report += json.loads(place.read_text(marker))
    frames = [place.read_table(name) for name in place.names(_folder(given)) if name.endswith(".parquet")]
    if not frames:
        from model.steps import errors

        raise errors.empty("reading the sources")
    say(f"gathered {sum(map(len, frames)):,} rows of {given.shards} shards")
    return pd.concat(frames)


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
        self._root = str(path).rstrip("/")
        self._local = "file" in (self._system.protocol if isinstance(self._system.protocol, tuple) else [])

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

    def read_table(self, name: str) -> Any:
        import pandas as pd

        with self._system.open(f"{self._root}/{name}", "rb") as stream:
            return pd.read_parquet(stream)

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
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if self._local:
                Path(self._root).mkdir(parents=True, exist_ok=True)
                folder = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=self._root))
            try:
                write_version(folder, version, prepared)
                if self._local:
                    folder.chmod(0o755)
                    folder.rename(Path(self._root, version))
                else:
                    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
                    for file in sorted(files, key=lambda name: name == REPORT):
                        self._system.put_file(str(folder / file), f"{self._root}/{version}/{file}")
            finally:
                shutil.rmtree(folder, ignore_errors=True)

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


def write_version(folder: Path, version: str, prepared: Any) -> None:
    """The files of a version."""
    for name, frame in prepared.parts.items():
        (folder / name).mkdir()
        frame.reset_index(drop=True).to_parquet(folder / name / "part-00000.parquet")
    prepared.preprocessing.write(folder)
    report = {"data_version": version, **prepared.report}
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n")


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    contract.run(lambda: main(sys.argv[1:]))
