"""Which settings keep a volume, and with it its namespace."""

from typing import Any

import pytest

from stacks.models import ElkSettings, ModelSettings, MonitoringSettings, RegistrySettings
from stacks.namespaces import keeps_volumes

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
