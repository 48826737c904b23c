"""MonitoringStack beside a monitoring that the cluster has already."""

import itertools
import json
from typing import Any

import pytest
import yaml

from modelops import ArgumentsError, MonitoringStack
from modelops.core.assets import asset, assets
from tests.unit.components.harness import Program, ignored_provider, on, provider, run

OPERATOR = {"labels": {"release": "kps"}}
BOTH: dict[str, Any] = {"prometheus_operator": OPERATOR, "grafana": {}}
NEEDED = {"m-needs-the-crd-podmonitors.monitoring.coreos.com", "m-needs-the-crd-prometheusrules.monitoring.coreos.com"}


def watch(**args: Any) -> Program:
    return run(lambda: MonitoringStack("m", {"namespace": "watch", **args}))  # type: ignore[typeddict-item]


def test_rules_and_one_monitor_are_made_and_nothing_that_runs() -> None:
    program = watch(attach={"prometheus_operator": OPERATOR})
    kinds = {found.type.rpartition(":")[2] for found in program.resources if found.is_kubernetes}
    assert kinds == {"PrometheusRule", "PodMonitor"}
    rules = {found.inputs["metadata"]["name"]: found.inputs["spec"] for found in program.of("PrometheusRule")}
    expected = {f"m-{file.removesuffix('.yaml')}" for file in assets("monitoring/assets/rules")} - {"m-platform"}
    assert set(rules) == expected
    assert json.loads(json.dumps(rules["m-slo"])) == json.loads(
        json.dumps(yaml.safe_load(asset("monitoring/assets/rules/slo.yaml")))
    )
    for found in [*program.of("PrometheusRule"), *program.of("PodMonitor")]:
        assert found.inputs["metadata"]["labels"]["release"] == "kps"
        assert set(found.options["dependencies"]) >= NEEDED
    assert not {"prometheus_url", "alertmanager_url", "grafana_url"} & set(program.outputs)


def test_its_alerts_lead_to_the_teams_runbook() -> None:
    address = "https://docs.example.com/runbook.html"
    program = watch(attach={"prometheus_operator": {}}, runbook_url=address)
    spec = next(found for found in program.of("PrometheusRule") if found.inputs["metadata"]["name"] == "m-registry")
    [rule] = spec.inputs["spec"]["groups"][0]["rules"]
    assert rule["annotations"]["runbook_url"] == f"{address}#modelregistrydown"


def test_the_monitor_labels_pods_as_our_own_scrape_does() -> None:
    spec = watch(attach={"prometheus_operator": {}}).one("PodMonitor").inputs["spec"]
    assert spec["selector"] == {"matchLabels": {"app.kubernetes.io/part-of": "modelops"}}
    assert spec["namespaceSelector"] == {"any": True}
    (endpoint,) = spec["podMetricsEndpoints"]
    labels = {rule.get("targetLabel") for rule in endpoint["relabelings"]}
    assert {"namespace", "pod", "node", "component", "service", "version", "track", "job"} <= labels
    renamed = {rule.get("replacement") for rule in endpoint["metricRelabelings"]}
    assert "modelops_requests_total" in renamed and endpoint["metricRelabelings"][-1] == {
        "action": "labeldrop",
        "regex": "metric_names",
    }
    rules = [*endpoint["relabelings"], *endpoint["metricRelabelings"]]
    assert not any("_" in key for rule in rules for key in rule)


def test_watched_namespaces_are_the_monitors() -> None:
    spec = watch(attach={"prometheus_operator": {}}, watched_namespaces=["ml"]).one("PodMonitor").inputs["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["ml", "watch"]}


def test_dashboards_are_config_maps_that_the_sidecar_picks() -> None:
    program = watch(attach={"grafana": {}})
    found = {each.name: each.inputs for each in program.of("ConfigMap") if "dashboard" in each.name}
    # Their Grafana need not know of the logs.
    shown = set(assets("monitoring/assets/dashboards")) - {"logs.json"}
    assert set(found) == {f"m-dashboard-{file.removesuffix('.json')}" for file in shown}
    one = found["m-dashboard-cost"]
    assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert one["metadata"]["annotations"] == {"grafana_folder": "ModelOps"}
    assert one["data"] == {"cost.json": asset("monitoring/assets/dashboards/cost.json")}
    assert program.one("Deployment", "m-prometheus")


def test_with_the_operator_dashboards_ask_for_its_own_series() -> None:
    sidecar = {"labels": {"dash": "yes"}, "folder": "ML", "datasource": "thanos"}
    program = watch(attach={"prometheus_operator": {}, "grafana": sidecar})
    found = {each.name: each.inputs for each in program.of("ConfigMap")}
    assert "m-dashboard-platform" not in found
    assert all(set(each.options["dependencies"]) >= NEEDED for each in program.of("ConfigMap"))
    for inputs in found.values():
        assert inputs["metadata"]["labels"]["dash"] == "yes"
        assert inputs["metadata"]["annotations"] == {"grafana_folder": "ML"}
        (text,) = inputs["data"].values()
        json.loads(text)
        assert 'job=\\"resource\\"' not in text
        assert '"uid": "prometheus"' not in text
    assert 'metrics_path=\\"/metrics/cadvisor\\"' in found["m-dashboard-cost"]["data"]["cost.json"]


@pytest.mark.parametrize("operated", [True, False])
def test_dashboards_reckon_with_the_teams_prices(operated: bool) -> None:
    prices = {"gpu": 3.5, "currency": "EUR"}
    program = watch(attach={"grafana": {"prices": prices}, **({"prometheus_operator": {}} if operated else {})})
    text = program.one("ConfigMap", "m-dashboard-large-model").inputs["data"]["large-model.json"]
    defaults = {each["name"]: each.get("query") for each in json.loads(text)["templating"]["list"]}
    assert (defaults["cpu_price"], defaults["memory_price"], defaults["gpu_price"]) == ("0.04", "0.005", "3.5")
    assert "currencyEUR" in text and "currencyUSD" not in text


@pytest.mark.parametrize("operator, sidecar, elk", list(itertools.product([True, False], repeat=3)))
def test_any_combination_with_logs_stays_valid(operator: bool, sidecar: bool, elk: bool) -> None:
    attach = {key: BOTH[key] for key, there in zip(BOTH, (operator, sidecar), strict=True) if there}
    args: dict[str, Any] = {"attach": attach} if attach else {}
    program = watch(**args, elk={"enabled": elk, "password": "long enough"})
    assert bool(program.of("PodMonitor")) is operator
    assert any("dashboard" in found.name for found in program.of("ConfigMap")) is sidecar
    assert bool(program.of("StatefulSet")) is elk
    assert any(found.name == "m-prometheus" for found in program.of("Deployment")) is not operator


def test_provider_is_respected() -> None:
    args: Any = {"namespace": "watch", "attach": BOTH}
    assert ignored_provider(run(lambda: MonitoringStack("m", args, on(provider())))) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"attach": {}}, "attach is 'empty', must name prometheus_operator or grafana"),
        (
            {"attach": BOTH, "prometheus": {"enabled": True}},
            "prometheus.enabled is True, must be false with attach: the cluster has its own",
        ),
        (
            {"attach": {"grafana": {}}, "grafana": {"enabled": True, "admin_password": "long enough"}},
            "grafana.enabled is True, must be false with attach",
        ),
        ({"attach": {"loki": {}}}, "attach.loki is not an argument; valid names are grafana, prometheus_operator"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        watch(**change)
    assert problem in str(caught.value)
