"""What reads the metrics of a model server beside rules and dashboards: a canary's analysis and the autoscaler."""

import importlib.util
from pathlib import Path
from typing import Any

import yaml

import modelops

_ASSETS = Path(modelops.__file__).parent / "serving" / "assets"
RECORDED = (
    "service:modelops_requests:rate5m > 0",
    "service:modelops_errors:ratio_rate5m >= 0",
    "service:modelops_request_duration_seconds:p99_rate5m > 0",
    "service:modelops_slo_slow:ratio_rate5m >= 0",
    'track:modelops_requests:rate5m{track="stable"} > 0',
    'track:modelops_request_duration_seconds:mean_rate5m{track="stable"} > 0',
)
"""What alerts read of a service that answers."""


def analyst() -> Any:
    """The program that analyses a canary."""
    spec = importlib.util.spec_from_file_location("analyst", _ASSETS / "analyst.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def analysis(prometheus_url: str, namespace: str, service: str) -> Any:
    """The analyst's view of a service."""
    return analyst().Prometheus(prometheus_url, namespace, service)


def autoscaler_queries(namespace: str, prefix: str = "modelops_") -> dict[str, str]:
    """By metric: what prometheus-adapter asks for each pod of this project's server, or of vLLM (`vllm_`)."""
    rules = yaml.safe_load((_ASSETS / "prometheus-adapter.yaml").read_text())["rules"]
    labels = f'namespace="{namespace}",pod=~".+"'
    return {
        rule["name"]["as"]: rule["metricsQuery"].replace("<<.LabelMatchers>>", labels).replace("<<.GroupBy>>", "pod")
        for rule in rules
        if rule["name"]["as"].startswith(prefix)
    }
