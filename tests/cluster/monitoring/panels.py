"""The dashboards' queries, as Grafana would send them."""

import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelops._assets import assets
from tests.cluster.support import get_json

EMPTY = {
    ("model-service", "Drift"): "a model published by hand has no distribution to compare with",
    ("platform", "Log pipeline"): "the log pipeline is off here",
}
"""Panels that are empty here, and why. Seen on the embedded cluster: all others had data."""


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    dashboard: str
    panel: str
    kind: str
    unit: str
    legend: str
    expression: str


def queries(namespace: str) -> Iterator[Query]:
    """Every query to Prometheus, its variables filled in as Grafana fills them in."""
    values = {"namespace": namespace, "service": ".*", "node": ".*", "cpu_price": "0.04", "memory_price": "0.005"}
    for file, text in assets("dashboards").items():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", []):
                if "expr" not in target:
                    continue
                expression = target["expr"]
                for name, value in values.items():
                    expression = expression.replace(f"${name}", value)
                assert "$" not in expression, expression
                yield Query(
                    dashboard=file.removesuffix(".json"),
                    panel=panel["title"],
                    kind=panel["type"],
                    unit=panel["fieldConfig"]["defaults"].get("unit", "short"),
                    legend=target.get("legendFormat") or "",
                    expression=expression,
                )


def ask(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """What a query gives now. Raises OSError when Prometheus refuses it."""
    answer = get_json(f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=30)
    return list(answer["data"]["result"])


def over_time(prometheus_url: str, expression: str, start: float, end: float, step: float = 15) -> list[dict[str, Any]]:
    """What a query gave between two times."""
    wanted = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    return list(get_json(f"{prometheus_url}/api/v1/query_range?{wanted}", timeout=60)["data"]["result"])
