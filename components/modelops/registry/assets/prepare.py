"""Runs before the MLflow server, in its image: migrates the database to the image's version and sets up the users.

The database's address and the passwords come from Secrets, through the environment; a changed password takes effect at
this start. An empty database is left to the server, which creates the tables when it starts.
"""

import configparser
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy
from mlflow.store.db import utils

CONFIG = Path("/run/mlflow/auth.ini")


def migrate(url: str) -> None:
    """Upgrades as `mlflow db upgrade` does, if needed. Copies SQLite's file first: migrations can't be undone."""
    engine = utils.create_sqlalchemy_engine_with_retry(url)
    tables = [name for name in sqlalchemy.inspect(engine).get_table_names() if not name.startswith("alembic_")]
    if "experiments" not in tables:
        print("the database is empty", flush=True)
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
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    migrate(backend)
    if "MODELOPS_ADMIN_PASSWORD" in os.environ:
        # With SQLite, accounts get a file of their own, because the server locks its database; PostgreSQL holds both.
        set_users("sqlite:////mlflow/auth.db" if backend.startswith("sqlite:") else backend)
