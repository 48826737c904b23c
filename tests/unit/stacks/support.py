"""Reads the repository's stack files as the engine would hand them to the program."""

import json
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
STACKS = ("dev", "staging", "prod")
SECRETS = {
    "modelops:registry_admin_password": "a long password",
    "modelops:grafana_admin_password": "a password",
    "modelops:elastic_password": "a password",
    "modelops:alertmanager_config": "route: {receiver: team}\nreceivers: [{name: team}]",
}
REGISTRY = "localhost:5000"
RELEASE = {
    "image": "registry.example.com/modelops/staging/linear-serve@sha256:" + "b" * 64,
    "model_name": "linear",
    "run_id": "0123456789ab",
    "model_version": "run-0123456789ab",
    "tracking_uri": "http://registry.modelops-staging.svc:5000",
    "metrics": {"mse": 0.04},
}
"""What the stack `staging` has released."""


def config_of(stack: str) -> dict[str, str]:
    """Config of a stack by full key, secrets decrypted, objects as JSON text."""
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    values = {}
    for key, value in document["config"].items():
        if key not in SECRETS:
            values[key] = json.dumps(value) if isinstance(value, dict | list) else str(value)
    given = {key for key in SECRETS if stack != "dev" or key in document["config"]}
    return values | {key: SECRETS[key] for key in given}


def program_config(config: dict[str, str]) -> dict[str, str]:
    """The program's own values, by short key."""
    return {key.removeprefix("modelops:"): value for key, value in config.items() if key.startswith("modelops:")}
