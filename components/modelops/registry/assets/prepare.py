"""Runs before the MLflow server, in its image: checks that it can use the object store, migrates the database to the
image's version and sets up the users.

The database's address and the passwords come from Secrets, through the environment; a changed password takes effect at
this start. Of several pods that start at once, one prepares PostgreSQL while the others wait.
"""

import configparser
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy
from mlflow.store.db import utils

CONFIG = Path("/run/mlflow/auth.ini")
LOCK = 6013142
"""Number of the database's lock; any that nobody else uses."""
STORES = {
    "s3": ("boto3", "boto3", ["AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"]),
    "gs": ("google.cloud.storage", "google-cloud-storage", ["GOOGLE_SERVICE_ACCOUNT_KEY"]),
    "wasbs": (
        "azure.storage.blob",
        "azure-storage-blob",
        ["AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING"],
    ),
}
"""Kind of object store → module and package that MLflow needs for it (its image `-full` has all of them), and the sets
of variables each of which opens it."""


def check_store(uri: str, secret: str) -> None:
    """Ends the program if the server couldn't use the object store: it would only fail at the first upload."""
    module, package, keys = STORES[urlsplit(uri).scheme]
    try:
        importlib.import_module(module)
    except ImportError as error:
        sys.exit(
            f"error: the files are to go to {uri}, but this image lacks the Python package {package} ({error}): use"
            " MLflow's own image whose tag ends with -full, or add the package to yours"
        )
    if secret and not any(set(names.split()) <= os.environ.keys() for names in keys):
        wanted = " or ".join(names.replace(" ", " and ") for names in keys)
        sys.exit(f"error: the files are to go to {uri}, but the Secret {secret} has no {wanted}")


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Lets one pod at a time prepare a PostgreSQL database; only one has SQLite's."""
    if not url.startswith("postgresql"):
        yield
        return
    # Of a transaction rather than of a session, which a pooler such as PgBouncer may give to somebody else.
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        yield


def migrate(url: str) -> None:
    """Upgrades as `mlflow db upgrade` does, if needed. Copies SQLite's file first: migrations can't be undone."""
    engine = utils.create_sqlalchemy_engine_with_retry(url)
    tables = [name for name in sqlalchemy.inspect(engine).get_table_names() if not name.startswith("alembic_")]
    if "experiments" not in tables:
        print("the database is empty", flush=True)
        if not url.startswith("sqlite:"):  # as the server does, but several of them would do it at once
            utils._initialize_tables(engine)
        return
    current, latest = utils._get_schema_version(engine), utils._get_latest_schema_revision()
    if current == latest:
        print(f"the database is at {current}, the latest revision", flush=True)
        return
    if url.startswith("sqlite:///"):
        file = urlsplit(url).path.removeprefix("/")
        shutil.copy2(file, f"{file}.{current}")
    print(f"migrating the database from {current} to {latest}", flush=True)
    utils._upgrade_db(engine)


def set_users(database: str) -> None:
    """Writes the server's authentication settings and sets each account's password."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    accounts = {
        os.environ["MODELOPS_ADMIN_USERNAME"]: (os.environ["MODELOPS_ADMIN_PASSWORD"], True),
        "writer": (os.environ["MODELOPS_WRITER_PASSWORD"], False),
        "reader": (os.environ["MODELOPS_READER_PASSWORD"], False),
    }
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": "READ",
        "database_uri": database.replace("%", "%%"),  # the server's parser interpolates
        "admin_username": os.environ["MODELOPS_ADMIN_USERNAME"],
        # Every request carries credentials, and checking a password takes 50 ms.
        "auth_cache_ttl_seconds": "30",
    }
    with open(CONFIG, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
        settings.write(target)
    store = SqlAlchemyStore()
    store.init_db(database)
    for name, (password, is_admin) in accounts.items():
        if not store.has_user(name):
            store.create_user(name, password, is_admin=is_admin)
        elif not store.authenticate_user(name, password):
            store.update_user(name, password=password)
            print(f"changed the password of {name}", flush=True)


if __name__ == "__main__":
    if "MODELOPS_ARTIFACTS" in os.environ:
        check_store(os.environ["MODELOPS_ARTIFACTS"], os.environ.get("MODELOPS_ARTIFACTS_SECRET", ""))
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    with alone(backend):
        migrate(backend)
        if "MODELOPS_ADMIN_PASSWORD" in os.environ:
            # With SQLite, accounts get a file of their own, because the server locks its database.
            set_users("sqlite:////mlflow/auth.db" if backend.startswith("sqlite:") else backend)
