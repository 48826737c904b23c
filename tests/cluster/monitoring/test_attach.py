"""MonitoringStack beside an operator and a Grafana, with the operator's own definitions; nothing of them runs here."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from modelops.core.assets import assets
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.crds import PROMETHEUS_OPERATOR, crds, has_crds
from tests.cluster.support import kubectl, objects

pytestmark = [pytest.mark.monitoring, pytest.mark.long]


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", namespace=namespace)
    yield made
    made.destroy(succeed=None)


def attached(namespace: str) -> Any:
    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        attach = {"prometheus_operator": {"labels": {"release": "kps"}}, "grafana": {}}
        args: Any = {"namespace": namespace, "attach": attach}
        MonitoringStack("watch", args, pulumi.ResourceOptions(provider=provider))
        return {}

    return program


def test_without_the_operators_definitions_plan_and_update_name_what_is_missing(namespace: str, stack: Stack) -> None:
    if has_crds(PROMETHEUS_OPERATOR):
        pytest.fail("the definitions are installed here: what happens without them can't be shown")
    for operation in (stack.preview, stack.up):
        outcome = operation(attached(namespace), succeed=False)
        assert "watch-needs-the-crd-podmonitors.monitoring.coreos.com" in outcome.text
        assert "does not exist" in outcome.text
    assert objects("configmaps", namespace, "--selector", "grafana_dashboard=1") == []


def test_the_operators_definitions_accept_what_is_made_and_nothing_runs(namespace: str, stack: Stack) -> None:
    with crds(PROMETHEUS_OPERATOR):
        stack.preview(attached(namespace))
        stack.up(attached(namespace))
        rules = objects("prometheusrules.monitoring.coreos.com", namespace, "--selector", "release=kps")
        assert len(rules) == len(assets("monitoring/assets/rules")) - 1
        (monitor,) = objects("podmonitors.monitoring.coreos.com", namespace, "--selector", "release=kps")
        assert monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
        dashboards = objects("configmaps", namespace, "--selector", "grafana_dashboard=1")
        shown = {file for each in dashboards for file in each["data"]}
        assert shown == set(assets("monitoring/assets/dashboards")) - {"platform.json", "logs.json"}
        assert kubectl("get", "pods", "--namespace", namespace, "--output", "name") == ""
        stack.unchanged(attached(namespace))
        stack.destroy()
        assert objects("prometheusrules.monitoring.coreos.com", namespace) == []
