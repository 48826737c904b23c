"""Copies MLflow's files between its store (a folder or an object store) and the back-up volume. Runs in MLflow's image.

`save` copies what the volume lacks: MLflow writes a file of a run once, so one mirror serves every dump of the
database. `restore` copies what the store lacks. SQLite's files are saved and restored here as well, by SQLite's own
online back-up.
"""

import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

BACKUP = Path("/backup")
DATABASES = ("mlflow.db", "auth.db")


def sizes(store: Any, folder: str | None = None) -> dict[str, int]:
    """Size by path of every file in the store."""
    found: dict[str, int] = {}
    for entry in store.list_artifacts(folder):
        found.update(sizes(store, entry.path) if entry.is_dir else {entry.path: entry.file_size})
    return found


def mirrored(mirror: Path) -> dict[str, int]:
    """Size by path of every file in the mirror."""
    return {str(path.relative_to(mirror)): path.stat().st_size for path in mirror.rglob("*") if path.is_file()}


def save(store: Any, mirror: Path, keep: int) -> None:
    """What is new in the store goes into the mirror; of the dumps the newest `keep` stay."""
    mirror.mkdir(parents=True, exist_ok=True)
    there = mirrored(mirror)
    new = [path for path, size in sizes(store).items() if there.get(path) != size]
    with tempfile.TemporaryDirectory(dir=BACKUP) as scratch:
        for path in new:
            got = Path(store.download_artifacts(path, scratch))
            target = mirror / path
            target.parent.mkdir(parents=True, exist_ok=True)
            got.replace(target)
    print(f"copied {len(new)} new files, {len(there)} were there", flush=True)
    for suffix in ("dump", *DATABASES):
        for old in sorted((BACKUP / "database").glob(f"*.{suffix}"))[:-keep]:
            old.unlink()


def restore(store: Any, mirror: Path) -> None:
    """What the store lacks comes from the mirror."""
    there = sizes(store)
    missing = [path for path, size in mirrored(mirror).items() if there.get(path) != size]
    for path in missing:
        store.log_artifact(str(mirror / path), str(Path(path).parent) if "/" in path else None)
    print(f"restored {len(missing)} files, {len(there)} were there", flush=True)


def dump_sqlite(folder: Path) -> None:
    """A consistent copy of each database that is there, also while the server writes."""
    (BACKUP / "database").mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    for name in filter(lambda name: (folder / name).exists(), DATABASES):
        target = BACKUP / "database" / f"{stamp}.{name}"
        _copy(folder / name, target.with_suffix(".partial"))
        target.with_suffix(".partial").rename(target)
        print(f"copied {name} into database/{target.name}", flush=True)


def load_sqlite(folder: Path) -> None:
    """The newest copy, or the one that MODELOPS_BACKUP names by its time."""
    for name in DATABASES:
        copies = sorted((BACKUP / "database").glob(f"{os.environ.get('MODELOPS_BACKUP', '')}*.{name}"))
        if copies:
            _copy(copies[-1], folder / name)
            print(f"restored {name} from database/{copies[-1].name}", flush=True)


def _copy(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)


if __name__ == "__main__":
    artifacts = get_artifact_repository(os.environ["MODELOPS_ARTIFACTS"])
    sqlite = os.environ["MLFLOW_BACKEND_STORE_URI"].startswith("sqlite:")
    if sys.argv[1] == "save":
        if sqlite:
            dump_sqlite(Path("/mlflow"))
        save(artifacts, BACKUP / "artifacts", int(os.environ["MODELOPS_KEEP"]))
    else:
        restore(artifacts, BACKUP / "artifacts")
        if sqlite:
            load_sqlite(Path("/mlflow"))
