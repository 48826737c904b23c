"""ModelRegistry's accounts: Secrets with their passwords, which the server reads when it starts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import pulumi

from modelops.kubernetes.config import generated_secret, secret
from modelops.kubernetes.labels import standard_labels
from modelops.kubernetes.pods import core, name_of, secret_key
from modelops.registry.args import DEFAULT_ADMIN, ModelRegistryArgs

CONFIG = "/run/mlflow/auth.ini"


@dataclass(frozen=True)
class Accounts:
    """Secrets with `username` and `password`, and the variables that the server's containers need."""

    writer: core.Secret
    reader: core.Secret
    for_prepare: list[core.EnvVarArgs]
    for_server: list[core.EnvVarArgs]


def accounts(name: str, component: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions) -> Accounts | None:
    """The accounts, or None for a server without any."""
    if "auth" not in args:
        return None
    auth, namespace = args["auth"], args["namespace"]
    labels = standard_labels("mlflow", component, name)
    username = auth.get("admin_username", DEFAULT_ADMIN)
    credentials = {"username": username, "password": auth["admin_password"]}
    admin = secret(f"{name}-admin", namespace, labels, credentials, opts)
    pod_accounts = {
        user: generated_secret(
            f"{name}-{user}", namespace, labels, {"username": user, "password": secrets.token_urlsafe(24)}, opts
        )
        for user in ("writer", "reader")
    }
    session = generated_secret(f"{name}-session", namespace, labels, {"key": secrets.token_urlsafe(32)}, opts)
    return Accounts(
        writer=pod_accounts["writer"],
        reader=pod_accounts["reader"],
        for_prepare=[
            core.EnvVarArgs(name="MODELOPS_ADMIN_USERNAME", value=username),
            secret_key("MODELOPS_ADMIN_PASSWORD", name_of(admin), "password"),
            *(
                secret_key(f"MODELOPS_{user.upper()}_PASSWORD", name_of(account), "password")
                for user, account in pod_accounts.items()
            ),
        ],
        for_server=[
            core.EnvVarArgs(name="MLFLOW_AUTH_CONFIG_PATH", value=CONFIG),
            secret_key("MLFLOW_FLASK_SERVER_SECRET_KEY", name_of(session), "key"),
        ],
    )
