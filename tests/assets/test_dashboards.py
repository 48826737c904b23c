"""Grafana's dashboards, checked against Grafana's own model of them and by Prometheus' parser."""

import json
import re
from pathlib import Path
from typing import Any

import grafana_foundation_sdk.cog.plugins as plugins
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.assets.conftest import Promtool
from tests.assets.test_assets import ASSETS

DASHBOARDS = sorted((ASSETS / "dashboards").glob("*.json"))
SOURCES = {"prometheus": "prometheus", "elasticsearch": "logs"}
"""Kind of data source → its uid in the provisioned files."""
every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
plugins.register_default_plugins()


def panels(file: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]


def unknown(given: Any, known: Any, path: str = "") -> list[str]:
    """Paths of what Grafana's model does not take over from a document."""
    if isinstance(given, dict):
        found = [] if isinstance(known, dict) else [path]
        for key, value in given.items() if not found else ():
            found += unknown(value, known[key], f"{path}.{key}") if key in known else [f"{path}.{key}"]
        return found
    if isinstance(given, list):
        if not isinstance(known, list) or len(given) != len(known):
            return [path]
        return [p for i, pair in enumerate(zip(given, known, strict=True)) for p in unknown(*pair, f"{path}[{i}]")]
    return [] if given == known else [path]


def test_there_is_a_dashboard_for_each_view() -> None:
    assert [file.stem for file in DASHBOARDS] == [
        "cost",
        "large-model",
        "logs",
        "model-service",
        "pipeline",
        "platform",
        "training",
    ]


@every_dashboard
def test_grafanas_model_knows_every_field(file: Path) -> None:
    document = json.loads(file.read_text())
    taken = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert unknown(document, taken) == []


def test_a_misspelt_field_would_be_seen() -> None:
    document = json.loads(DASHBOARDS[0].read_text())
    document["panels"][0]["gridpos"] = document["panels"][0].pop("gridPos")
    taken = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert unknown(document, taken) == [".panels[0].gridpos"]


@every_dashboard
def test_dashboards_are_complete(file: Path) -> None:
    document = json.loads(file.read_text())
    assert document["uid"].startswith("modelops-")
    identities = [panel["id"] for panel in document["panels"]]
    assert len(set(identities)) == len(identities)
    titles = [panel["title"] for panel in panels(file)]
    assert len(set(titles)) == len(titles)
    for panel in panels(file):
        assert panel["title"]
        assert panel["description"].endswith(".")
        kind = panel["datasource"]["type"]
        assert panel["datasource"]["uid"] == SOURCES[kind]
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert all(target["expr"] if kind == "prometheus" else target["query"] for target in panel["targets"])


@every_dashboard
def test_panels_do_not_overlap(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(file.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@every_dashboard
def test_dashboards_ask_what_prometheus_understands(file: Path, tmp_path: Path, promtool: Promtool) -> None:
    expressions = [target["expr"] for panel in panels(file) for target in panel["targets"] if "expr" in target]
    plain = [re.sub(r"\$\w+_price", "1", expression) for expression in expressions]
    names = [re.sub(r"\$\w+", ".*", expression) for expression in plain]
    rules = [{"record": f"dashboard:panel:{index}", "expr": text} for index, text in enumerate(names)]
    document = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document))
    done = promtool("check", "rules", "--lint=none", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
