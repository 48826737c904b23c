"""Where ModelRegistry keeps runs and versions: SQLite on its volume, its own PostgreSQL server, or an existing one."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from modelops.core.images import UPSTREAM_IMAGES
from modelops.kubernetes import postgres
from modelops.kubernetes.pods import core, secret_key
from modelops.kubernetes.postgres import PostgresTenant
from modelops.registry.args import DEFAULT_DATABASE_PORT, ModelRegistryArgs

SQLITE = "sqlite:////mlflow/mlflow.db"
URL = "MLFLOW_BACKEND_STORE_URI"
REGISTRY = PostgresTenant("model-registry-database", ("model-registry", "model-registry-backup"), "mlflow", URL)


@dataclass(frozen=True)
class Database:
    """What pods need to reach the database."""

    variable: core.EnvVarArgs
    """MLflow's own variable for the database's address; a reference to a Secret unless it is SQLite's."""
    ports: tuple[pulumi.Input[int], ...]
    """TCP ports that pods connect to."""
    image: pulumi.Input[str] | None
    """Image with the programs for dumps; None for SQLite."""


def database(name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions) -> Database:
    """The database that the arguments ask for; creates the component's own server."""
    if "database" not in args:
        return Database(core.EnvVarArgs(name=URL, value=SQLITE), (), None)
    settings = args["database"]
    image = settings.get("image", UPSTREAM_IMAGES["postgres"])
    if "secret" in settings:
        variable = secret_key(URL, settings["secret"], "url")
        return Database(variable, (settings.get("port", DEFAULT_DATABASE_PORT),), image)
    server = f"{name}-{postgres.NAME}"
    [variable] = postgres.server(server, name, args["namespace"], settings, image, args, opts, REGISTRY)
    return Database(variable, (postgres.PORT,), image)
