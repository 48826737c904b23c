"""Where ModelRegistry keeps the files of models: on its volume, or in an object store, whose keys it alone has.

An output may say only later which kind of store it is, so every pod gets what any kind needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi

from modelops.kubernetes.network import HTTPS_PORT, METADATA_PORTS
from modelops.kubernetes.pods import core, env_from_secret, mount
from modelops.registry.args import ArtifactStore, ModelRegistryArgs

FOLDER = "/mlflow"
_ACCOUNT_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
_ACCOUNT_FOLDER = "/run/google"


@dataclass(frozen=True)
class Storage:
    """What pods need to reach the files."""

    uri: pulumi.Input[str]
    variables: Sequence[core.EnvVarArgs] = ()
    env_from: Sequence[core.EnvFromSourceArgs] | None = None
    ports: Sequence[pulumi.Input[int | str]] = ()
    """What pods connect to, as `allow_egress` takes it."""
    volumes: Sequence[core.VolumeArgs] = ()
    mounts: Sequence[core.VolumeMountArgs] = ()
    checks: dict[str, pulumi.Input[str]] = field(default_factory=dict)
    """Variables of the script that checks, before the server starts, that it can use the store."""


def storage(args: ModelRegistryArgs) -> Storage:
    """The storage that the arguments ask for."""
    if "artifacts" not in args:
        return Storage(f"{FOLDER}/artifacts")
    store = args["artifacts"]
    variables = {"AWS_DEFAULT_REGION": store.get("region", "us-east-1")}
    if "endpoint_url" in store:
        variables["MLFLOW_S3_ENDPOINT_URL"] = store["endpoint_url"]
    checks = {"MODELOPS_ARTIFACTS": store["uri"]}
    if "secret" not in store:
        return Storage(store["uri"], _entries(variables), ports=_ports(store), checks=checks)
    # Google's library takes a file.
    variables["GOOGLE_APPLICATION_CREDENTIALS"] = f"{_ACCOUNT_FOLDER}/{_ACCOUNT_KEY}"
    item = core.KeyToPathArgs(key=_ACCOUNT_KEY, path=_ACCOUNT_KEY)
    source = core.SecretVolumeSourceArgs(secret_name=store["secret"], items=[item], optional=True)
    return Storage(
        store["uri"],
        _entries(variables),
        [env_from_secret(store["secret"])],
        _ports(store),
        [core.VolumeArgs(name="google", secret=source)],
        [mount("google", _ACCOUNT_FOLDER, read_only=True)],
        {**checks, "MODELOPS_ARTIFACTS_SECRET": store["secret"]},
    )


def _entries(variables: dict[str, pulumi.Input[str]]) -> list[core.EnvVarArgs]:
    return [core.EnvVarArgs(name=name, value=value) for name, value in variables.items()]


def _ports(store: ArtifactStore) -> list[pulumi.Input[int | str]]:
    """The store, and the ports of those of the cloud's tokens where there is no Secret."""
    return [store.get("endpoint_url", HTTPS_PORT), *(() if "secret" in store else METADATA_PORTS)]
