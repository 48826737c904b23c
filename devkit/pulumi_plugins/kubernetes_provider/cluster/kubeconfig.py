"""Kubeconfigs: from a path, from their contents, or from where kubectl looks."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import Unreachable

Config = dict[str, Any]


def parse(path_or_contents: Any) -> tuple[Config, Path | None]:
    """A kubeconfig given by path, as YAML or JSON text, or as an object; and the folder its relative paths start at."""
    if not path_or_contents:
        return {}, None
    if isinstance(path_or_contents, Mapping):
        return dict(path_or_contents), None
    contents, folder = str(path_or_contents), None
    path = Path(contents).expanduser() if len(contents) < 4096 and "\n" not in contents else None
    if path is not None and path.exists():
        contents, folder = path.read_text(encoding="utf-8"), path.parent
    try:
        loaded = yaml.safe_load(contents)
    except yaml.YAMLError as error:
        raise Unreachable(f"the kubeconfig can't be parsed: {error}") from error
    if not isinstance(loaded, dict):
        raise Unreachable("the kubeconfig is neither an existing file nor the contents of one")
    return loaded, folder


def ambient() -> tuple[Config, Path | None]:
    """The kubeconfig that kubectl would use: the files of KUBECONFIG merged, else ~/.kube/config; empty when none."""
    named = os.environ.get("KUBECONFIG") or "~/.kube/config"
    merged: Config = {}
    for entry in filter(None, named.split(os.pathsep)):
        path = Path(entry).expanduser()
        if path.exists():
            config, _ = parse(str(path))
            _merge(merged, _absolute(config, path.parent))
    return merged, None


def _merge(into: Config, config: Config) -> None:
    # As kubectl: the first file that names a thing wins.
    for section in ("clusters", "users", "contexts"):
        existing = {item.get("name") for item in into.setdefault(section, [])}
        into[section] += [item for item in config.get(section) or [] if item.get("name") not in existing]
    if not into.get("current-context"):
        into["current-context"] = config.get("current-context") or ""


def _absolute(config: Config, folder: Path) -> Config:
    fields = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}
    for section, names in (("clusters", "cluster"), ("users", "user")):
        for item in config.get(section) or []:
            part = item.get(names) or {}
            for field in fields[names]:
                if part.get(field):
                    part[field] = str(folder / part[field])
    return config


def load(path_or_contents: Any) -> Config:
    """The kubeconfig to use, its file references absolute. An empty argument means the ambient one."""
    if not path_or_contents:
        return ambient()[0]
    config, folder = parse(path_or_contents)
    return _absolute(config, folder) if folder is not None else config


def _named(config: Config, section: str, name: str) -> Mapping[str, Any] | None:
    for item in config.get(section) or []:
        if item.get("name") == name:
            value = item.get(section[:-1])
            return value if isinstance(value, Mapping) else {}
    return None


def select(config: Config, *, context: str = "", cluster: str = "") -> Config:
    """The kubeconfig with `context` current and that context's cluster overridden by `cluster`."""
    chosen = context or str(config.get("current-context") or "")
    named = _named(config, "contexts", chosen)
    if named is None:
        raise Unreachable(f'context "{chosen}" does not exist' if chosen else "no configuration has been provided")
    entry = {**named, "cluster": cluster or named.get("cluster")}
    return {**config, "current-context": chosen, "contexts": [{"name": chosen, "context": entry}]}


def active_cluster(config: Config, *, context: str = "", cluster: str = "") -> Mapping[str, Any] | None:
    """The kubeconfig's entry of the cluster in use; None when it has none."""
    entry = _named(config, "contexts", context or str(config.get("current-context") or ""))
    if entry is None:
        return None
    return _named(config, "clusters", cluster or str(entry.get("cluster") or ""))


def namespace(config: Config) -> str:
    """The current context's namespace, `default` when it names none."""
    entry = _named(config, "contexts", str(config.get("current-context") or "")) or {}
    return str(entry.get("namespace") or "default")
