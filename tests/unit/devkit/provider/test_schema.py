"""The stand-in's schema says what a host needs that checks a program's types."""

import json
from typing import Any

import pulumi_kubernetes as k8s
import pytest

from devkit.pulumi_plugins.kubernetes_provider.schema import schema


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schema("4.34.2"))
    assert (found["name"], found["version"]) == ("kubernetes", "4.34.2")
    return found


@pytest.fixture(scope="module")
def resources(described: dict[str, Any]) -> dict[str, Any]:
    return dict(described["resources"])


def test_a_kind_has_its_properties_and_constants(resources: dict[str, Any]) -> None:
    config_map = resources["kubernetes:core/v1:ConfigMap"]
    assert set(config_map["inputProperties"]) == {"apiVersion", "kind", "metadata", "data", "binaryData", "immutable"}
    assert config_map["inputProperties"]["apiVersion"] == {"type": "string", "const": "v1"}
    assert config_map["inputProperties"]["kind"]["const"] == "ConfigMap"
    job = resources["kubernetes:batch/v1:Job"]
    assert job["inputProperties"]["apiVersion"]["const"] == "batch/v1"
    assert set(job["properties"]) - set(job["inputProperties"]) == {"status"}


def test_properties_have_the_types_of_the_sdk(described: dict[str, Any]) -> None:
    deployment = described["resources"]["kubernetes:apps/v1:Deployment"]["properties"]
    assert deployment["metadata"] == {"$ref": "#/types/kubernetes:meta/v1:ObjectMeta"}
    assert deployment["spec"] == {"$ref": "#/types/kubernetes:apps/v1:DeploymentSpec"}
    metadata = described["types"]["kubernetes:meta/v1:ObjectMeta"]["properties"]
    assert metadata["name"] == {"type": "string"}
    assert metadata["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    pod = described["types"]["kubernetes:core/v1:PodSpec"]["properties"]
    assert pod["containers"] == {"type": "array", "items": {"$ref": "#/types/kubernetes:core/v1:Container"}}


def test_everything_that_is_referred_to_is_there(described: dict[str, Any]) -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(entry) for entry in value.values()))
        return set()

    wanted = {each.removeprefix("#/types/") for each in references(described) if each.startswith("#/types/")}
    assert wanted and wanted <= set(described["types"])


def test_a_providers_settings_are_in_it(described: dict[str, Any]) -> None:
    settings = described["provider"]["inputProperties"]
    assert settings["namespace"] == {"type": "string"}
    assert settings["upsertExistingObjects"] == {"type": "boolean"}


@pytest.mark.parametrize(
    ("token", "api_version", "kind"),
    [
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("kubernetes:core/v1:ServicePatch", "v1", "Service"),
        ("kubernetes:autoscaling/v2:HorizontalPodAutoscaler", "autoscaling/v2", "HorizontalPodAutoscaler"),
    ],
)
def test_constants_are_those_of_the_object(resources: dict[str, Any], token: str, api_version: str, kind: str) -> None:
    inputs = resources[token]["inputProperties"]
    assert (inputs["apiVersion"]["const"], inputs["kind"]["const"]) == (api_version, kind)


def test_the_kinds_that_the_library_makes_are_in_it(resources: dict[str, Any]) -> None:
    for module in (k8s.core.v1, k8s.apps.v1, k8s.batch.v1, k8s.rbac.v1, k8s.networking.v1, k8s.policy.v1):
        for kind in ("ConfigMap", "Deployment", "Job", "Role", "Ingress", "PodDisruptionBudget"):
            if (found := getattr(module, kind, None)) is not None:
                assert found.pulumi_type in resources
    assert len(resources) > 300
