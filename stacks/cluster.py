"""Which cluster a stack may touch: the one its config names, or a local one."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

_LOCAL_CONTEXTS = ("minikube", "docker-desktop", "rancher-desktop")
_LOCAL_PREFIXES = ("kind-", "k3d-")


def problem_with_current_context(environment: Mapping[str, str] | None = None) -> str | None:
    """Why the kubeconfig's current context must not be used without being named, or None when it is a local one."""
    kubeconfig = _read_kubeconfig(os.environ if environment is None else environment)
    if kubeconfig is None:
        return "kubernetes:context is missing, it is required where there is no kubeconfig (KUBECONFIG)"
    name = kubeconfig.get("current-context") or ""
    if not name:
        return "kubernetes:context is missing, it is required where the kubeconfig has no current context"
    server = _server(kubeconfig, name)
    if is_local(name, server):
        return None
    return (
        f"kubernetes:context is missing, it is required to touch a cluster that isn't local: the kubeconfig's current "
        f"context is {name!r} ({server or 'no server'}); `pulumi config set kubernetes:context {name}` allows it"
    )


def is_local(context: str, server: str) -> bool:
    """Whether a cluster is on this machine, by its address or by the name that local tools give."""
    if context in _LOCAL_CONTEXTS or context.startswith(_LOCAL_PREFIXES):
        return True
    host = urlsplit(server).hostname or ""
    if host in ("localhost", "kubernetes.docker.internal"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_kubeconfig(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The first file of KUBECONFIG, or the default one, that is there."""
    default = str(Path("~/.kube/config").expanduser())
    for path in (environment.get("KUBECONFIG") or default).split(os.pathsep):
        if path and Path(path).is_file():
            return dict(yaml.safe_load(Path(path).read_text()) or {})
    return None


def _server(kubeconfig: Mapping[str, Any], context: str) -> str:
    contexts = {entry["name"]: entry.get("context") or {} for entry in kubeconfig.get("contexts") or []}
    clusters = {entry["name"]: entry.get("cluster") or {} for entry in kubeconfig.get("clusters") or []}
    return str(clusters.get(contexts.get(context, {}).get("cluster"), {}).get("server", ""))
