"""Which cluster a stack may deploy to: the one that its config names, or a local one."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from stacks.platform import read_platform

_LOCAL_CONTEXTS = ("minikube", "docker-desktop", "rancher-desktop")
_LOCAL_PREFIXES = ("kind-", "k3d-")


def problem_with_current_context(environment: Mapping[str, str] | None = None) -> str | None:
    """Why the config must name the kubeconfig's current context, or None if that is a local cluster."""
    environment = os.environ if environment is None else environment
    if _is_the_platforms_own(environment):
        return None
    kubeconfig = _read_kubeconfig(environment)
    if kubeconfig is None:
        return "kubernetes:context is missing, it is required without a kubeconfig (KUBECONFIG)"
    name = kubeconfig.get("current-context") or ""
    if not name:
        return "kubernetes:context is missing, it is required if the kubeconfig has no current context"
    server = _server(kubeconfig, name)
    if is_local(name, server):
        return None
    return (
        "kubernetes:context is missing, it is required for a cluster that isn't local: the kubeconfig's current "
        f"context is {name!r} ({server or 'no server'}); `pulumi config set kubernetes:context {name}` allows it"
    )


def is_local(context: str, server: str) -> bool:
    """Whether a cluster is on this machine, judging by its address or by the context names of local tools."""
    if context in _LOCAL_CONTEXTS or context.startswith(_LOCAL_PREFIXES):
        return True
    host = urlsplit(server).hostname or ""
    if host in ("localhost", "kubernetes.docker.internal"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_the_platforms_own(environment: Mapping[str, str]) -> bool:
    """Whether the kubeconfig is that of a cluster that the local platform has made, such as Minikube's, whose address
    on Linux is that of a container."""
    try:
        own = read_platform(environment).kubeconfig
    except ValueError:  # the settings report it
        return False
    return own is not None and own == environment.get("KUBECONFIG")


def _read_kubeconfig(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The first existing file of KUBECONFIG, by default ~/.kube/config."""
    default = str(Path("~/.kube/config").expanduser())
    for path in (environment.get("KUBECONFIG") or default).split(os.pathsep):
        if path and Path(path).is_file():
            return dict(yaml.safe_load(Path(path).read_text()) or {})
    return None


def _server(kubeconfig: Mapping[str, Any], context: str) -> str:
    contexts = {entry["name"]: entry.get("context") or {} for entry in kubeconfig.get("contexts") or []}
    clusters = {entry["name"]: entry.get("cluster") or {} for entry in kubeconfig.get("clusters") or []}
    return str(clusters.get(contexts.get(context, {}).get("cluster"), {}).get("server", ""))
