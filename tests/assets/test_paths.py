"""Which requests count as predictions: the same ones wherever they are counted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.assets.conftest import Promtool
from tests.assets.test_assets import ASSETS, LIBRARY
from tests.server_metrics import analyst, autoscaler_queries

NOT_PREDICTIONS: str = analyst().NOT_PREDICTIONS
READERS = [
    *sorted((ASSETS / "rules").glob("*.yaml")),
    *sorted((ASSETS / "dashboards").glob("*.json")),
    LIBRARY / "serving" / "assets" / "prometheus-adapter.yaml",
]
PREDICTIONS = (
    "/api/predict",
    "/predict",  # of a server of somebody's own
    "/v2/models/line/infer",
    "/v2/models/line/versions/run-1/infer",
    "/v2/models/health/infer",
    "inference.GRPCInferenceService/ModelInfer",
)
OTHERS = (
    "/healthz/live",
    "/healthz/ready",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/line/ready",
    "/v2/models/line/versions/run-1/ready",
    "inference.GRPCInferenceService/ServerLive",
    "inference.GRPCInferenceService/ServerReady",
    "inference.GRPCInferenceService/ModelReady",
    "grpc.health.v1.Health/Check",
)


def texts(document: Any) -> list[str]:
    """All texts in a document."""
    if isinstance(document, dict):
        return [text for value in document.values() for text in texts(value)]
    if isinstance(document, list):
        return [text for value in document for text in texts(value)]
    return [document] if isinstance(document, str) else []


@pytest.mark.parametrize("file", READERS, ids=lambda file: file.name)
def test_whatever_counts_requests_counts_the_same_paths(file: Path) -> None:
    document = json.loads(file.read_text()) if file.suffix == ".json" else yaml.safe_load(file.read_text())
    for text in texts(document):
        for labels in re.findall(r"modelops_request(?:s_total|_duration_seconds_\w+)\{([^}]*)\}", text):
            if labels != 'namespace!="",pod!=""':  # the adapter's list of series
                assert f'path!~"{NOT_PREDICTIONS}"' in labels, text


def test_probes_and_metrics_are_no_predictions_and_all_else_is(tmp_path: Path, promtool: Promtool) -> None:
    def series(path: str) -> str:
        return f'modelops_requests_total{{namespace="ml", service="a", path="{path}"}}'

    expected = [{"labels": series(path), "value": 1} for path in PREDICTIONS]
    expression = f'modelops_requests_total{{path!~"{NOT_PREDICTIONS}"}}'
    given = [{"series": series(path), "values": "1x4"} for path in PREDICTIONS + OTHERS]
    assert_samples(tmp_path, promtool, given, expression, expected)


@pytest.mark.parametrize("path", PREDICTIONS)
def test_autoscaling_counts_every_prediction(path: str, tmp_path: Path, promtool: Promtool) -> None:
    labels = 'namespace="ml", service="a", pod="a-1"'
    given = [
        {"series": f'modelops_requests_total{{{labels}, path="{path}"}}', "values": "0+30x8"},
        {"series": f'modelops_requests_total{{{labels}, path="/v2/health/ready"}}', "values": "0+900x8"},
    ]
    expression = f"round({autoscaler_queries('ml')['modelops_requests_per_second']}, 0.01)"
    assert_samples(tmp_path, promtool, given, expression, [{"labels": '{pod="a-1"}', "value": 2}])


def assert_samples(
    folder: Path, promtool: Promtool, given: list[dict[str, str]], expression: str, expected: list[dict[str, Any]]
) -> None:
    check = {"expr": expression, "eval_time": "2m", "exp_samples": expected}
    test = {"interval": "15s", "input_series": given, "promql_expr_test": [check]}
    (folder / "paths.yaml").write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    done = promtool("test", "rules", folder / "paths.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
