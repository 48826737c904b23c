"""Runs before the MLflow server, in its image: brings the database up to the image's version, and its users in order.

The database's address and the passwords come from the environment, out of Secrets; a password that has changed there
holds from this start on. An empty database is left to the server, which fills it at its own start.
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
    """What `mlflow db upgrade` does, if it is needed. SQLite's file is copied first; migrations can't be taken back."""
    engine = utils.create_sqlalchemy_engine_with_retry(url)
    tables = [name for name in sqlalchemy.inspect(engine).get_table_names() if not name.startswith("alembic_")]
    if "experiments" not in tables:
        print("the database is empty", flush=True)
        return
    found, wanted = utils._get_schema_version(engine), utils._get_latest_schema_revision()
    if found == wanted:
        print(f"the database is at {found}, as it should be", flush=True)
        return
    if url.startswith("sqlite:///"):
        file = urlsplit(url).path.removeprefix("/")
        shutil.copy2(file, f"{file}.{found}")
    print(f"the database goes from {found} to {wanted}", flush=True)
    utils._upgrade_db(engine)


def set_users(database: str) -> None:
    """Writes the server's settings for authentication, and gives each account its password."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    accounts = {
        os.environ["MODELOPS_ADMIN_USERNAME"]: (os.environ["MODELOPS_ADMIN_PASSWORD"], True),
        "writer": (os.environ["MODELOPS_WRITER_PASSWORD"], False),
        "reader": (os.environ["MODELOPS_READER_PASSWORD"], False),
    }
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": "READ",
        "database_uri": database.replace("%", "%%"),  # the server's parser knows interpolation
        "admin_username": os.environ["MODELOPS_ADMIN_USERNAME"],
        # The credentials come with every request, and checking a password takes 50 ms: remembered for a while.
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
            print(f"{name} has a new password", flush=True)


if __name__ == "__main__":
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    migrate(backend)
    if "MODELOPS_ADMIN_PASSWORD" in os.environ:
        # One file for the accounts beside SQLite's own, which the server locks; a server-side database holds both.
        set_users("sqlite:////mlflow/auth.db" if backend.startswith("sqlite:") else backend)
