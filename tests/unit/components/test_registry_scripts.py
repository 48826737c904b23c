"""What runs in MLflow's image beside the server: migrations and back-ups, of real databases and files.

MLflow, which takes two seconds to import, is imported by the tests alone: every worker of pytest imports all the files.
"""

import importlib.util
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy

import modelops
from tests import postgres

FOLDER = Path(modelops.__file__).parent / "registry" / "assets"
# One of an older release; databases from then are what an update meets.
OLDER = "cbc13b556ace"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec and spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def old_database(file: Path) -> str:
    """A database as an older MLflow left it, with one experiment."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base

    url = f"sqlite:///{file}"
    engine = sqlalchemy.create_engine(url)
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    with engine.begin() as connection:
        values = "(experiment_id, name, artifact_location, lifecycle_stage) values (7, 'kept', 'x', 'active')"
        connection.execute(sqlalchemy.text(f"insert into experiments {values}"))
    engine.dispose()
    return url


def test_a_database_of_an_older_version_is_copied_and_migrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.store.db import utils
    from mlflow.store.db.base_sql_model import Base

    url = old_database(tmp_path / "mlflow.db")
    script("prepare").migrate(url)
    engine = sqlalchemy.create_engine(url)
    assert utils._get_schema_version(engine) == utils._get_latest_schema_revision()
    assert set(Base.metadata.tables) <= set(sqlalchemy.inspect(engine).get_table_names())
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select name from experiments")).scalar() == "kept"
    assert f"migrating the database from {OLDER} to " in capsys.readouterr().out
    with sqlite3.connect(tmp_path / f"mlflow.db.{OLDER}") as before:
        assert before.execute("select version_num from alembic_version").fetchone() == (OLDER,)

    script("prepare").migrate(url)
    assert "the latest revision" in capsys.readouterr().out


def test_pods_that_start_at_once_prepare_a_database_one_after_the_other() -> None:
    """Programs, as pods run them: each creates the tables that it finds missing."""
    from mlflow.store.db import utils

    with postgres.running() as url:
        backend = url.replace("postgresql://", "postgresql+psycopg2://")
        pods = [
            subprocess.Popen(
                [sys.executable, FOLDER / "prepare.py"],
                env={**os.environ, "MLFLOW_BACKEND_STORE_URI": backend},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(3)
        ]
        said = [pod.communicate(timeout=240)[0] for pod in pods]
        assert [pod.returncode for pod in pods] == [0, 0, 0], said
        assert sum("the database is empty" in text for text in said) == 1
        assert sum("the latest revision" in text for text in said) == 2
        engine = sqlalchemy.create_engine(backend)
        assert utils._get_schema_version(engine) == utils._get_latest_schema_revision()
        engine.dispose()


def test_an_empty_file_is_left_to_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script("prepare").migrate(f"sqlite:///{tmp_path}/mlflow.db")
    assert capsys.readouterr().out == "the database is empty\n"


@pytest.mark.parametrize(
    ("uri", "package", "keys", "wanted"),
    [
        ("s3://bucket/x", "boto3", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), None),
        ("gs://bucket/x", "google-cloud-storage", ("GOOGLE_SERVICE_ACCOUNT_KEY",), None),
        ("wasbs://c@a.blob.core.windows.net/x", "azure-storage-blob", ("AZURE_STORAGE_CONNECTION_STRING",), None),
        ("s3://bucket/x", "boto3", ("AWS_ACCESS_KEY_ID",), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("gs://bucket/x", "google-cloud-storage", (), "GOOGLE_SERVICE_ACCOUNT_KEY"),
        (
            "wasbs://c@a.blob.core.windows.net/x",
            "azure-storage-blob",
            ("AZURE_STORAGE_KEY",),
            "AZURE_STORAGE_ACCESS_KEY or AZURE_STORAGE_CONNECTION_STRING",
        ),
    ],
)
def test_an_image_without_what_the_store_needs_and_a_secret_without_its_keys_are_said_before_the_server_starts(
    uri: str, package: str, keys: tuple[str, ...], wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = script("prepare")
    module = prepare.STORES[uri.partition(":")[0]][0]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match=f"{uri}, but this image lacks the Python package {package} .* -full"):
        prepare.check_store(uri, "bucket")
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    for parent in ("google", "google.cloud", "azure", "azure.storage"):
        if parent not in sys.modules:
            monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    for key in keys:
        monkeypatch.setenv(key, "planted")
    prepare.check_store(uri, "")  # an identity of the cloud
    if wanted is None:
        prepare.check_store(uri, "bucket")
        return
    with pytest.raises(SystemExit, match=f"the Secret bucket has no {wanted}$"):
        prepare.check_store(uri, "bucket")


@pytest.fixture
def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = script("backup")
    monkeypatch.setattr(module, "BACKUP", tmp_path / "backup")
    (tmp_path / "backup").mkdir()
    return module


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_files_come_back_from_the_mirror(backup: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, mirror = tmp_path / "store", tmp_path / "backup" / "artifacts"
    write(store, a__model="one", a__b__c="two")
    backup.save(backup.get_artifact_repository(str(store)), mirror, 7)
    write(store, d="three")
    backup.save(backup.get_artifact_repository(str(store)), mirror, 7)
    assert capsys.readouterr().out == (
        "copied 2 new files, 0 were in the mirror\ncopied 1 new files, 2 were in the mirror\n"
    )

    other = tmp_path / "other"
    write(other, d="three")
    backup.restore(backup.get_artifact_repository(str(other)), mirror)
    assert {str(path.relative_to(other)): path.read_text() for path in other.rglob("*") if path.is_file()} == {
        "a/model": "one",
        "a/b/c": "two",
        "d": "three",
    }


def test_sqlite_is_copied_while_it_is_in_use_and_the_newest_copies_stay(backup: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("create table runs (name text)")
        database.execute("insert into runs values ('kept')")
        database.commit()
        database.execute("insert into runs values ('not yet')")
        backup.dump_sqlite(folder)
        database.rollback()
    (folder / "mlflow.db").unlink()
    backup.load_sqlite(folder)
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("select name from runs").fetchall() == [("kept",)]

    for hour in range(5):
        write(tmp_path / "backup" / "database", **{f"2020-01-01T0{hour}-00-00Z.dump": "x"})
    backup.save(backup.get_artifact_repository(str(tmp_path)), tmp_path / "backup" / "artifacts", 2)
    left = sorted(path.name for path in (tmp_path / "backup" / "database").glob("*.dump"))
    assert left == ["2020-01-01T03-00-00Z.dump", "2020-01-01T04-00-00Z.dump"]
