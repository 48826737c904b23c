"""The DAG's versions: a run ends with the files that it began with, whatever was deployed meanwhile.

Airflow's init container runs this file as a program. Under a hash of their content it puts the DAG's files into
Airflow's database, then writes the files of every version found there into a folder of that name. Airflow's programs
import the file as a module: `VersionedDags` tells them the newest version, which new runs get, and the folder of each.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from airflow.dag_processing.bundles.base import BaseDagBundle

CURRENT = "current"
HASH_LENGTH = 12
_TABLE = "modelops_dag_versions"


class VersionedDags(BaseDagBundle):  # type: ignore[misc]  # Airflow is not installed here
    """The DAGs in `folder`, where each version has a folder of its own."""

    supports_versioning = True

    def __init__(self, *, folder: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._folder = Path(folder)

    @property
    def path(self) -> Path:
        return self._folder / (self.version or self._current())

    def get_current_version(self) -> object:
        try:
            from airflow.dag_processing.bundles.base import BundleVersion
        except ImportError:  # before Airflow 3.3
            return self._current()
        return BundleVersion(self._current())

    def refresh(self) -> None:
        """Nothing to do: the files change only when the pod does."""

    def _current(self) -> str:
        return (self._folder / CURRENT).read_text()


def keep(url: str, source: Path, folder: Path) -> None:
    """Puts the files in `source` into the database, and those of all versions from there into `folder`."""
    from sqlalchemy import create_engine, text

    files = {path.name: path.read_bytes().decode() for path in sorted(source.iterdir()) if path.is_file()}
    content = json.dumps(files, sort_keys=True)
    version = hashlib.sha256(content.encode()).hexdigest()[:HASH_LENGTH]
    with create_engine(url).begin() as database:
        database.execute(text(f"CREATE TABLE IF NOT EXISTS {_TABLE} (version TEXT PRIMARY KEY, files TEXT NOT NULL)"))
        database.execute(text(f"DELETE FROM {_TABLE} WHERE version = :version"), {"version": version})
        row = {"version": version, "files": content}
        database.execute(text(f"INSERT INTO {_TABLE} (version, files) VALUES (:version, :files)"), row)
        versions = database.execute(text(f"SELECT version, files FROM {_TABLE}")).all()
    for name, content in versions:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, lines in json.loads(content).items():
            (folder / name / file).write_bytes(lines.encode())
    (folder / CURRENT).write_text(version)


if __name__ == "__main__":
    keep(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], Path(sys.argv[1]), Path(sys.argv[2]))
