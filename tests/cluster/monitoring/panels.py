"""The dashboards' queries, to Prometheus and to Elasticsearch, as Grafana would send them."""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelops.core.assets import asset, assets
from tests.cluster.support import get_json

EMPTY = {
    ("model-service", "Drift"): "a model published by hand has no distribution to compare with",
    ("platform", "Log pipeline"): "the log pipeline is off here",
    **{
        ("large-model", panel["title"]): "no language model is served here"
        for panel in json.loads(asset("monitoring/assets/dashboards/large-model.json"))["panels"]
    },
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
    """In PromQL, or in Lucene's language for Elasticsearch."""
    target: Mapping[str, Any]
    """As the dashboard has it."""


def queries(namespace: str, source: str = "prometheus") -> Iterator[Query]:
    """Every query to a kind of data source, its variables filled in as Grafana fills them in."""
    prices = {"cpu_price": "0.04", "memory_price": "0.005", "gpu_price": "2"}
    values = {"namespace": namespace, "service": ".*", "node": ".*", **prices}
    for file, text in assets("monitoring/assets/dashboards").items():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] != source:
                    continue
                expression = target["expr" if source == "prometheus" else "query"]
                for name, value in values.items():
                    expression = expression.replace(f"${{{name}:regex}}", value).replace(f"${name}", value)
                assert "$" not in expression, expression
                yield Query(
                    dashboard=file.removesuffix(".json"),
                    panel=panel["title"],
                    kind=panel["type"],
                    unit=panel["fieldConfig"]["defaults"].get("unit", "short"),
                    legend=target.get("legendFormat") or target.get("alias") or "",
                    expression=expression,
                    target=target,
                )


def ask(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """What a query gives now. Raises OSError when Prometheus refuses it."""
    answer = get_json(f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=30)
    return list(answer["data"]["result"])


def over_time(prometheus_url: str, expression: str, start: float, end: float, step: float = 15) -> list[dict[str, Any]]:
    """What a query gave between two times."""
    wanted = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    return list(get_json(f"{prometheus_url}/api/v1/query_range?{wanted}", timeout=60)["data"]["result"])


def search(query: Query, start: float, end: float, interval: str = "10s") -> dict[str, Any]:
    """The search that a panel of Elasticsearch's makes: lines, or a figure by one field and by time."""
    between = {"gte": int(start * 1000), "lte": int(end * 1000), "format": "epoch_millis"}
    words = {"query_string": {"analyze_wildcard": True, "query": query.expression}}
    asked: dict[str, Any] = {"query": {"bool": {"filter": [{"range": {"@timestamp": between}}, words]}}}
    [metric] = query.target["metrics"]
    if metric["type"] == "logs":
        return {**asked, "size": int(metric["settings"]["limit"]), "sort": [{"@timestamp": {"order": "desc"}}]}
    terms, histogram = query.target["bucketAggs"]
    assert (terms["type"], histogram["type"]) == ("terms", "date_histogram")
    figure = {} if metric["type"] == "count" else {"aggs": {"figure": {metric["type"]: {"field": metric["field"]}}}}
    by_time = {
        "date_histogram": {"field": histogram["field"], "fixed_interval": interval, "min_doc_count": 0},
        **figure,
    }
    each = {"field": terms["field"], "size": int(terms["settings"]["size"])}
    return {**asked, "size": 0, "aggs": {"each": {"terms": each, "aggs": {"over_time": by_time}}}}


def series(query: Query, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Elasticsearch's figures in the form of `over_time`; none where it was asked for lines."""
    if "aggregations" not in answer:
        return []
    field, counted = query.target["bucketAggs"][0]["field"], query.target["metrics"][0]["type"] == "count"
    found = []
    for each in answer["aggregations"]["each"]["buckets"]:
        pairs = [
            (at["key"] / 1000, at["doc_count"] if counted else at["figure"]["value"])
            for at in each["over_time"]["buckets"]
        ]
        found.append({"metric": {field: each["key"]}, "values": [pair for pair in pairs if pair[1] is not None]})
    return found
