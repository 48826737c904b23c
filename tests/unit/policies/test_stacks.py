"""The pack with this project's own configuration, held against its own stacks."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from modelops_policies import RESOURCE_RULES, STACK_RULES, Resource
from modelops_policies.exemptions import SCHEMA, is_exempt
from tests.conftest import REPOSITORY
from tests.unit.stacks import rendered
from tests.unit.stacks.support import STACKS

CONFIG: Mapping[str, Any] = json.loads((REPOSITORY / "policies" / "modelops.json").read_text())
EXEMPTIONS = [(rule, each) for rule, settings in CONFIG.items() for each in settings["exempt"]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """The rules that each stack breaks without any exemption, each with the resource."""
    broken = {}
    for stack in STACKS:
        created = rendered.resources(stack, tmp_path_factory.mktemp(stack))
        resources = [Resource(each.type, each.name, rendered.plain(each.inputs)) for each in created]
        broken[stack] = {
            (rule.name, resource.name)
            for rule in (*RESOURCE_RULES, *STACK_RULES)
            for resource in resources
            if [*rule.check(resource, resources)]
        }
    return broken


def left(broken: set[tuple[str, str]]) -> set[str]:
    return {rule for rule, name in broken if not is_exempt(name, CONFIG.get(rule, {}).get("exempt", []))}


def test_production_keeps_every_rule(found: dict[str, set[tuple[str, str]]]) -> None:
    assert left(found["prod"]) == set()


@pytest.mark.parametrize("stack", ["dev", "staging"])
def test_the_other_stacks_lack_only_encryption_which_is_advisory(
    stack: str, found: dict[str, set[tuple[str, str]]]
) -> None:
    assert left(found[stack]) == {"public-tls"}


@pytest.mark.parametrize(("rule", "exemption"), EXEMPTIONS, ids=lambda value: str(value))
def test_an_exemption_is_needed(
    rule: str, exemption: Mapping[str, str], found: dict[str, set[tuple[str, str]]]
) -> None:
    broken = set().union(*found.values())
    assert any(name == rule and is_exempt(resource, [exemption]) for name, resource in broken)


@pytest.mark.parametrize(("_", "exemption"), EXEMPTIONS)
def test_an_exemption_gives_its_reason(_: str, exemption: Mapping[str, str]) -> None:
    jsonschema.validate([exemption], SCHEMA)


@pytest.mark.parametrize(
    "exemption",
    [
        "node-exporter",
        {"resource": "a"},
        {"reason": "b"},
        {"resource": "a", "reason": " "},
        {"resource": "", "reason": "b"},
    ],
)
def test_an_exemption_without_a_resource_or_a_reason_is_refused(exemption: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([exemption], SCHEMA)


def test_a_name_is_taken_literally_but_for_stars() -> None:
    def exempt(name: str, pattern: str) -> bool:
        return is_exempt(name, [{"resource": pattern, "reason": "a"}])

    assert exempt("monitoring-grafana", "monitoring-*") and exempt("model[0]?", "model[0]?")
    assert not exempt("model-alias", "model") and not exempt("model0", "model[0]") and not exempt("models", "model?")


def test_the_file_names_rules_that_there_are() -> None:
    assert CONFIG.keys() <= {rule.name for rule in (*RESOURCE_RULES, *STACK_RULES)}
