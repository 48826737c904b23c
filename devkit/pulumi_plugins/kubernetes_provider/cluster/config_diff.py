"""What a change of the provider's own configuration means."""

from collections.abc import Mapping
from typing import Any

from ..objects.properties import Map, Unknown, plain
from . import kubeconfig

_CLUSTER_KEYS = ("kubeconfig", "context", "cluster")
_IDENTIFIER = "clusterIdentifier"


def diff_config(olds: Map, news: Map) -> tuple[list[str], list[str]]:
    """The changed settings, and those whose change means another cluster: everything in it is replaced.

    A kubeconfig that changes without naming another cluster replaces nothing. With a `clusterIdentifier`, that alone
    decides.
    """
    olds, news = plain(olds), plain(news)
    diffs = [key for key in {**olds, **news} if olds.get(key) != news.get(key)]
    replaces = _replaced(olds, news, diffs)
    if _IDENTIFIER in news and olds.get(_IDENTIFIER) == news[_IDENTIFIER]:
        replaces = []
    return diffs, replaces


def _replaced(olds: Map, news: Map, diffs: list[str]) -> list[str]:
    replaced = [_IDENTIFIER] if _IDENTIFIER in diffs and _IDENTIFIER in olds and _IDENTIFIER in news else []
    for key in _CLUSTER_KEYS:
        if isinstance(news.get(key), Unknown):
            # Whether the cluster changes is unknown: assume that it does.
            return [*replaced, key] if key in diffs else replaced
    old, new = _active(olds), _active(news)
    if old is not None and new is not None and old != new:
        replaced += [key for key in _CLUSTER_KEYS if key in diffs]
    return replaced


def _active(properties: Map) -> Mapping[str, Any] | None:
    config, _ = kubeconfig.parse(properties.get("kubeconfig"))
    context, cluster = properties.get("context") or "", properties.get("cluster") or ""
    return kubeconfig.active_cluster(config, context=context, cluster=cluster)
