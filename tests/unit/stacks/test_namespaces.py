"""Which settings keep a volume, and with it its namespace; and what each namespace allows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelops_policies import RESOURCE_RULES, Resource
from stacks.models import ElkSettings, ModelSettings, MonitoringSettings, RegistrySettings
from stacks.namespaces import keeps_volumes
from stacks.settings import SettingsError
from tests.unit.stacks import rendered
from tests.unit.stacks.support import STACKS
from tests.unit.stacks.test_composition import compose

[RESTRICTED] = [rule for rule in RESOURCE_RULES if rule.name == "restricted"]
ENFORCE = "pod-security.kubernetes.io/enforce"

LOST = {"retain_volume": False}
PARTS = {"prometheus": LOST, "alertmanager": LOST}
ELK = {"enabled": True, "elasticsearch": LOST, "logstash": LOST}
KEEPING: dict[str, Any] = {
    "the registry's volume": RegistrySettings(),
    "a database of its own": RegistrySettings(retain_volume=False, database={}),
    "back-ups": RegistrySettings(retain_volume=False, backup={}),
    "a claim of somebody else": RegistrySettings(retain_volume=False, claim="theirs"),
    "prepared data": ModelSettings(data_claim="data"),
    "checkpoints": ModelSettings(checkpoints={"storage_size": "1Gi", "retain_volume": True}),
    "metrics": MonitoringSettings(alertmanager=LOST),
    "logs": MonitoringSettings(**PARTS, elk={**ELK, "elasticsearch": {}}),
    "lines on their way": MonitoringSettings(**PARTS, elk={**ELK, "logstash": {}}),
}
LOSING: dict[str, Any] = {
    "a volume that goes with the stack": RegistrySettings(retain_volume=False),
    "a database elsewhere": RegistrySettings(retain_volume=False, database={"secret": "db"}),
    "no volume": ModelSettings(),
    "checkpoints that go": ModelSettings(checkpoints={"storage_size": "1Gi"}),
    "metrics that go": MonitoringSettings(**PARTS),
    "logs that go": MonitoringSettings(**PARTS, elk=ELK),
    "parts that are off": MonitoringSettings(**PARTS, elk=ElkSettings(enabled=False)),
    "an Elasticsearch elsewhere": MonitoringSettings(
        **PARTS, elk={"enabled": True, "existing": {"url": "https://logs", "username": "u"}, "logstash": LOST}
    ),
}


@pytest.mark.parametrize("settings", KEEPING.values(), ids=KEEPING)
def test_what_outlives_the_stack_keeps_its_namespace(settings: Any) -> None:
    assert keeps_volumes(settings.model_dump(exclude_none=True))


@pytest.mark.parametrize("settings", LOSING.values(), ids=LOSING)
def test_a_namespace_without_it_goes_with_the_stack(settings: Any) -> None:
    assert not keeps_volumes(settings.model_dump(exclude_none=True))


def profiles(resources: list[Any]) -> dict[str, str]:
    """What each namespace enforces."""
    made = [each.inputs["metadata"] for each in resources if each.type.endswith("core/v1:Namespace")]
    return {each["name"]: each["labels"][ENFORCE] for each in made}


def workloads(resources: list[Any]) -> dict[str, dict[str, bool]]:
    """Namespace → name of each object that makes pods → whether Kubernetes' restricted profile would refuse them."""
    found: dict[str, dict[str, bool]] = {}
    for each in resources:
        inputs = rendered.plain(each.inputs)
        spec = inputs.get("spec")
        if isinstance(spec, Mapping) and ("template" in spec or "jobTemplate" in spec):
            refused = bool([*RESTRICTED.check(Resource(each.type, each.name, inputs), [])])
            found.setdefault(inputs["metadata"]["namespace"], {})[each.name] = refused
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_what_must_be_privileged_has_a_namespace_to_itself_and_all_others_are_restricted(
    stack: str, tmp_path: Path
) -> None:
    resources = rendered.resources(stack, tmp_path)
    agents, own = f"modelops-{stack}-node-agents", f"modelops-{stack}"
    assert profiles(resources) == {own: "restricted", f"{own}-monitoring": "restricted", agents: "privileged"}
    found = workloads(resources)
    assert set(found) == set(profiles(resources))
    assert found.pop(agents) == {"monitoring-node-exporter": True, "monitoring-filebeat": True}
    assert not any(refused for pods in found.values() for refused in pods.values())


@pytest.mark.parametrize("stack", STACKS)
def test_no_pod_reads_a_config_map_or_secret_of_another_namespace(stack: str, tmp_path: Path) -> None:
    resources = [each for each in rendered.resources(stack, tmp_path) if each.is_kubernetes]
    there = {
        (rendered.plain(each.inputs)["metadata"].get("namespace"), rendered.plain(each.inputs)["metadata"].get("name"))
        for each in resources
        if each.type.endswith(("ConfigMap", "Secret", "ServiceAccount"))
    }
    agents = [rendered.plain(each.inputs) for each in resources if each.type.endswith("DaemonSet")]
    for agent in agents:
        spec, namespace = agent["spec"]["template"]["spec"], agent["metadata"]["namespace"]
        assert (namespace, spec["serviceAccountName"]) in there
        volumes = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
        assert {(namespace, name) for name in volumes} <= there
    assert agents


def test_without_agents_no_namespace_is_privileged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    off = '{"node_exporter": {"enabled": false}}'
    program, _ = compose("dev", monkeypatch, tmp_path, config={"modelops:monitoring": off})
    assert set(profiles(program.resources).values()) == {"restricted"}


@pytest.mark.parametrize("name", ["modelops-dev", "modelops-dev-monitoring"])
def test_agents_may_not_share_a_namespace_that_the_stack_makes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = {"modelops:monitoring": f'{{"agents_namespace": "{name}"}}'}
    with pytest.raises(SettingsError, match="must be another one: nothing else may be in it"):
        compose("dev", monkeypatch, tmp_path, config=shared)
