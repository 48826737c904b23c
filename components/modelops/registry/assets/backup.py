"""Copies MLflow's files between its store (a folder or an object store) and the back-up volume. Runs in MLflow's image.

`save` copies the files that the volume lacks: MLflow writes a run's file only once, so one mirror serves every dump of
the database. `restore` copies the files that the store lacks. Both include SQLite's files, by its online backup API.
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


def store_sizes(store: Any, folder: str | None = None) -> dict[str, int]:
    """Size by path of every file in the store."""
    sizes: dict[str, int] = {}
    for entry in store.list_artifacts(folder):
        sizes.update(store_sizes(store, entry.path) if entry.is_dir else {entry.path: entry.file_size})
    return sizes


def mirror_sizes(mirror: Path) -> dict[str, int]:
    """Size by path of every file in the mirror."""
    return {str(path.relative_to(mirror)): path.stat().st_size for path in mirror.rglob("*") if path.is_file()}


def save(store: Any, mirror: Path, keep: int) -> None:
    """Copies new files of the store into the mirror and keeps the newest `keep` dumps."""
    mirror.mkdir(parents=True, exist_ok=True)
    mirrored = mirror_sizes(mirror)
    new = [path for path, size in store_sizes(store).items() if mirrored.get(path) != size]
    with tempfile.TemporaryDirectory(dir=BACKUP) as scratch:
        for path in new:
            download = Path(store.download_artifacts(path, scratch))
            target = mirror / path
            target.parent.mkdir(parents=True, exist_ok=True)
            download.replace(target)
    print(f"copied {len(new)} new files, {len(mirrored)} were in the mirror", flush=True)
    for suffix in ("dump", *DATABASES):
        for dump in sorted((BACKUP / "database").glob(f"*.{suffix}"))[:-keep]:
            dump.unlink()


def restore(store: Any, mirror: Path) -> None:
    """Copies files that the store lacks from the mirror."""
    stored = store_sizes(store)
    missing = [path for path, size in mirror_sizes(mirror).items() if stored.get(path) != size]
    for path in missing:
        store.log_artifact(str(mirror / path), str(Path(path).parent) if "/" in path else None)
    print(f"restored {len(missing)} files, {len(stored)} were in the store", flush=True)


def dump_sqlite(folder: Path) -> None:
    """Makes a consistent copy of each existing database, even while the server writes."""
    (BACKUP / "database").mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    for name in filter(lambda name: (folder / name).exists(), DATABASES):
        target = BACKUP / "database" / f"{stamp}.{name}"
        _copy(folder / name, target.with_suffix(".partial"))
        target.with_suffix(".partial").rename(target)
        print(f"copied {name} into database/{target.name}", flush=True)


def load_sqlite(folder: Path) -> None:
    """Restores the newest copy of each database, or the one whose time is MODELOPS_BACKUP."""
    for name in DATABASES:
        copies = sorted((BACKUP / "database").glob(f"{os.environ.get('MODELOPS_BACKUP', '')}*.{name}"))
        if copies:
            _copy(copies[-1], folder / name)
            print(f"restored {name} from database/{copies[-1].name}", flush=True)


def _copy(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as database, sqlite3.connect(target) as copy:
        database.backup(copy)


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
