"""The provider's configuration."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .. import refused

_PREFIX = "kubernetes:config:"


@dataclass(frozen=True)
class Settings:
    """What a provider instance was configured with."""

    kubeconfig: str = ""
    """A path or the contents of a kubeconfig; empty for the ambient one."""
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    """For namespaced objects that name none; empty for the context's."""
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    upsert_existing_objects: bool = False
    """Whether creating an object that exists changes it instead of failing."""
    client_timeout_seconds: float = 0.0


def _flag(variables: Mapping[str, str], key: str, variable: str, default: bool = False) -> bool:
    """A switch: the provider's own setting, else the environment variable's, else `default`."""
    value = variables.get(_PREFIX + key, os.environ.get(variable))
    return default if value is None else value == "true"


def from_variables(variables: Mapping[str, str]) -> Settings:
    """The settings in a Configure request. Raises Refused for those that are not supported."""
    if not _flag(variables, "enableServerSideApply", "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", default=True):
        raise refused.refuse(refused.CLIENT_SIDE_APPLY)
    if variables.get(_PREFIX + "renderYamlToDirectory"):
        raise refused.refuse(refused.RENDER)
    return Settings(
        kubeconfig=variables.get(_PREFIX + "kubeconfig", ""),
        context=variables.get(_PREFIX + "context", ""),
        cluster=variables.get(_PREFIX + "cluster", ""),
        namespace=variables.get(_PREFIX + "namespace", ""),
        delete_unreachable=_flag(variables, "deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=_flag(variables, "skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
        config_map_mutable=_flag(variables, "enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
        secret_mutable=_flag(variables, "enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        upsert_existing_objects=_flag(variables, "upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        client_timeout_seconds=float(os.environ.get("PULUMI_K8S_CLIENT_TIMEOUT") or 0),
    )


def refused_settings(properties: Mapping[str, object]) -> list[tuple[str, str]]:
    """The provider's inputs that are not supported, each with its error."""
    problems = []
    if properties.get("enableServerSideApply") in (False, "false"):
        problems.append(("enableServerSideApply", refused.message(refused.CLIENT_SIDE_APPLY)))
    if properties.get("renderYamlToDirectory"):
        problems.append(("renderYamlToDirectory", refused.message(refused.RENDER)))
    return problems
