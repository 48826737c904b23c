"""What the deployed Airflow keeps secret: generated once, or in the team's own Secrets, which the state never sees."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from modelops.airflow.args import AirflowPipelineArgs, AirflowServer
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.validation import Problems
from modelops.kubernetes import postgres
from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.pods import core, env_from_secret, name_of, secret_key

ADMIN = "admin"
COMPONENT = "airflow"
URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
DATABASE = postgres.PostgresTenant(component="airflow-database", clients=(COMPONENT,), role="airflow", variable=URL)
KEYS = {
    "AIRFLOW__CORE__FERNET_KEY": "fernet",
    "AIRFLOW__API__SECRET_KEY": "session",
    "AIRFLOW__API_AUTH__JWT_SECRET": "tokens",
}
"""Airflow's variables, and the entries of the Secret that they come from."""
_OF_THE_OWN_DATABASE = (
    "database_password_secret",
    "database_image",
    "database_resources",
    "storage_size",
    "storage_class",
    "claim",
)


@dataclass(frozen=True)
class Credentials:
    """References to the Secrets, for the containers of Airflow."""

    variables: list[core.EnvVarArgs]
    """The database and the keys."""
    connections: list[core.EnvFromSourceArgs]
    admin: pulumi.Output[str]
    """Name of the Secret with `username` and `password`."""

    @property
    def login(self) -> list[core.EnvVarArgs]:
        """The administrator's account, for the container that makes it."""
        entries = ("username", "password")
        return [secret_key(f"ADMIN_{entry.upper()}", self.admin, entry) for entry in entries]


def check_credentials(problems: Problems, settings: Mapping[str, Any]) -> None:
    """Checks the names of the Secrets, and that an existing database has no settings of a new one."""
    for field in ("admin_secret", "keys_secret", "connections_secret", "database_secret", "database_password_secret"):
        problems.text(f"airflow.{field}", settings.get(field))
    if "database_secret" in settings:
        for field in set(_OF_THE_OWN_DATABASE) & set(settings):
            rule = "must not be given with database_secret, whose server runs elsewhere"
            problems.add(f"airflow.{field}", settings[field], rule)


def credentials(
    server: str,
    instance: str,
    labels: Mapping[str, pulumi.Input[str]],
    args: AirflowPipelineArgs,
    pods: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> Credentials:
    """The Secrets that the arguments name; the others, and a database unless there is one, are made."""
    settings, namespace = args.get("airflow", {}), args["namespace"]

    def of(field: str, suffix: str, values: Mapping[str, str]) -> pulumi.Output[str]:
        existing = settings.get(field)
        if existing is not None:
            return pulumi.Output.from_input(existing)  # type: ignore[arg-type]
        return name_of(generated_secret(f"{server}-{suffix}", namespace, labels, values, opts))

    keys = of(
        "keys_secret",
        "keys",
        {
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "session": secrets.token_urlsafe(32),
            "tokens": secrets.token_urlsafe(48),
        },
    )
    admin = of("admin_secret", "admin", {"username": ADMIN, "password": secrets.token_urlsafe(24)})
    if "database_secret" in settings:
        database = [secret_key(URL, settings["database_secret"], "url")]
    else:
        image = settings.get("database_image", UPSTREAM_IMAGES["postgres"])
        server_name, own = f"{instance}-postgres", _database_settings(settings)
        database = postgres.server(server_name, instance, namespace, own, image, pods, opts, DATABASE)
    return Credentials(
        [*database, *(secret_key(variable, keys, entry) for variable, entry in KEYS.items())],
        [env_from_secret(settings["connections_secret"])] if "connections_secret" in settings else [],
        admin,
    )


def _database_settings(settings: AirflowServer) -> dict[str, Any]:
    fields = {"database_password_secret": "password_secret", "database_resources": "resources"}
    fields |= {key: key for key in ("storage_size", "storage_class", "claim")}
    given: Mapping[str, Any] = settings
    return {name: given[field] for field, name in fields.items() if field in given}
