"""The programs of many services that `make bench` measures: with and without components, they make the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.service_updates import PLACE, chart_text, written
from bench.services import Object, class_of, components, manifests, plain, rendered, snake_case
from tests.unit.components.harness import Program, run
from tests.unit.stacks.rendered import plain as in_clear

STARTS_PODS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Job", "CronJob"}


def objects(program: Program) -> dict[tuple[str, str], Any]:
    return {(each.type, each.name): in_clear(each.inputs) for each in program.resources if each.is_kubernetes}


def test_the_plain_program_makes_the_objects_of_the_components_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(rendered(2, "ml")))
    ours, other = run(lambda: components(2, "ml")), run(lambda: plain(str(file)))
    assert objects(other) == objects(ours)
    assert len(ours.resources) == len(other.resources) + len(ours.of("ModelService")) == len(other.resources) + 2


def test_every_object_is_of_a_class_of_pulumi_kubernetes() -> None:
    for each in rendered(1, "ml"):
        group, _, name = each["type"].removeprefix("kubernetes:").rpartition(":")
        assert class_of(each["type"]).__name__ == name
        assert each["inputs"]["apiVersion"] == group.removeprefix("core/")


@pytest.mark.parametrize(
    ("wire", "python"), [("roleRef", "role_ref"), ("metadata", "metadata"), ("apiVersion", "api_version")]
)
def test_inputs_have_pythons_names(wire: str, python: str) -> None:
    assert snake_case(wire) == python


def starting(each: Object) -> bool:
    """Whether an object starts pods."""
    spec = each["inputs"].get("spec", {})
    return each["inputs"]["kind"] in STARTS_PODS and spec.get("replicas") != 0 and spec.get("suspend") is not True


def test_services_at_rest_start_no_pod_and_nobody_waits_for_them() -> None:
    assert [each for each in rendered(1, "ml") if starting(each)]
    for each in rendered(1, "ml", at_rest=True):
        assert not starting(each)
        assert each["inputs"]["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


def without_what_rests(found: list[Object]) -> dict[tuple[str, str], Any]:
    """The inputs, without what is at rest and the name of the release that a watch makes of it."""
    text = re.sub(r'\\"release\\": \\"[0-9a-f]{12}\\"', "", json.dumps([each["inputs"] for each in found]))
    inputs = {(each["type"], each["name"]): made for each, made in zip(found, json.loads(text), strict=True)}
    for each in inputs.values():
        each["metadata"].pop("annotations", None)
        for field in ("replicas", "suspend"):
            each.get("spec", {}).pop(field, None)
    return inputs


def test_services_at_rest_are_otherwise_the_same() -> None:
    assert without_what_rests(rendered(1, "ml", at_rest=True)) == without_what_rests(rendered(1, "ml"))


def test_a_manifest_of_what_pulumi_would_name_has_the_resources_name() -> None:
    unnamed: Object = {"type": "kubernetes:batch/v1:Job", "name": "watch", "inputs": {"metadata": {"namespace": "ml"}}}
    named: Object = {"type": "kubernetes:batch/v1:Job", "name": "watch", "inputs": {"metadata": {"name": "own"}}}
    found = [each["metadata"] for each in manifests([unnamed, named])]
    assert found == [{"name": "watch", "namespace": "ml"}, {"name": "own"}]


def test_a_chart_of_manifests_has_their_braces_as_text(tmp_path: Path) -> None:
    text = '{"program": "f\'{{x}}\' {{{y}"}'
    made = chart_text(text)
    assert made.replace('{{ "{{" }}', "{{") == text
    assert "{{" not in made.replace('{{ "{{" }}', "")
    file = written(f"{made} {PLACE}", tmp_path, "here")
    assert file.parents[1].joinpath("Chart.yaml").is_file() and file.read_text() == f"{made} here"
