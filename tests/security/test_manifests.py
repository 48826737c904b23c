"""The objects of the repository's stacks, graded by checkov's rules; what they break has a reason in waivers.json."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelops_policies.exemptions import SCHEMA, is_exempt
from tests.security.checkov import Finding, Grade, grade
from tests.unit.stacks.rendered import manifests
from tests.unit.stacks.support import STACKS

pytestmark = pytest.mark.long  # checkov takes minutes: `make security`

WAIVERS: Mapping[str, Any] = json.loads((Path(__file__).parent / "waivers.json").read_text())
EXEMPTIONS = [(check, each) for check, settings in WAIVERS.items() for each in settings["exempt"]]
LEAST_CAUGHT = 0.95


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    return {stack: manifests(stack, tmp_path_factory.mktemp(stack)) for stack in STACKS}


@pytest.fixture(scope="module")
def grades(objects: dict[str, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Grade]:
    return {stack: grade(objects[stack], tmp_path_factory.mktemp(stack)) for stack in STACKS}


def left(findings: Sequence[Finding]) -> list[Finding]:
    """Those without a waiver."""
    return [each for each in findings if not is_exempt(each.resource, WAIVERS.get(each.check, {}).get("exempt", []))]


@pytest.mark.parametrize("stack", STACKS)
def test_what_breaks_a_rule_has_a_reason(
    stack: str, grades: Mapping[str, Grade], figure: Callable[[str], None]
) -> None:
    found = grades[stack]
    figure(
        f"checkov, {stack}: {found.passed} checks of {found.objects} objects passed, {len(found.findings)} failed "
        f"with a reason, {len(left(found.findings))} without"
    )
    assert found.passed > 1000
    assert left(found.findings) == []


@pytest.mark.parametrize(
    ("check", "waiver"), EXEMPTIONS, ids=lambda value: value["resource"] if isinstance(value, dict) else value
)
def test_a_waiver_is_needed(check: str, waiver: Mapping[str, str], grades: Mapping[str, Grade]) -> None:
    findings = [each for found in grades.values() for each in found.findings]
    assert any(each.check == check and is_exempt(each.resource, [waiver]) for each in findings)


@pytest.mark.parametrize(
    ("_", "waiver"), EXEMPTIONS, ids=lambda value: value["resource"] if isinstance(value, dict) else value
)
def test_a_waiver_gives_its_reason(_: str, waiver: Mapping[str, str]) -> None:
    jsonschema.validate([waiver], SCHEMA)


# What makes a pod harmless: the field, and the value that undoes it (None takes the field away).
OF_A_POD = {
    "securityContext.runAsNonRoot": None,
    "securityContext.runAsUser": 0,
    "securityContext.seccompProfile": None,
    "automountServiceAccountToken": None,
}
OF_A_CONTAINER = {
    "securityContext.allowPrivilegeEscalation": None,
    "securityContext.readOnlyRootFilesystem": None,
    "securityContext.capabilities": None,
    "resources.limits": None,
    "resources.requests": None,
}
ADDED_TO_A_POD = {"hostNetwork": True, "hostPID": True, "hostIPC": True}
ADDED_TO_A_CONTAINER = {"securityContext.privileged": True}


def pod_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod that an object makes."""
    spec: Any = manifest.get("spec", {})
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = spec.get("template", {}).get("spec") if isinstance(spec, Mapping) else None
    return pod if isinstance(pod, dict) and "containers" in pod else None


def undone(place: dict[str, Any], path: str, value: Any) -> bool:
    """Takes a field away or sets it otherwise; whether that is a change."""
    *folders, field = path.split(".")
    for folder in folders:
        place = place.setdefault(folder, {}) if value is not None else place.get(folder, {})
    if place.get(field) == value:
        return False
    if value is None:
        del place[field]
    else:
        place[field] = value
    return True


def mutants(manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object with one hardening field less, once for each, with the field's name."""
    pod = pod_of(manifest)
    if pod is None:
        return
    places = [("", OF_A_POD | ADDED_TO_A_POD)]
    places += [
        (f"{kind}.{index}.", OF_A_CONTAINER | ADDED_TO_A_CONTAINER)
        for kind in ("initContainers", "containers")
        for index in range(len(pod.get(kind) or []))
    ]
    for prefix, fields in places:
        for path, value in fields.items():
            mutant: Any = copy.deepcopy(manifest)
            place: Any = pod_of(mutant)
            if prefix:
                kind, index, _ = prefix.split(".")
                place = place[kind][int(index)]
            if undone(place, path, value):
                yield prefix + path, mutant


def test_taking_away_any_hardening_field_fails_a_check(
    objects: dict[str, list[dict[str, Any]]],
    grades: Mapping[str, Grade],
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    made = [(each["metadata"]["name"], *one) for each in objects["prod"] for one in mutants(each)]
    batch = []
    for place, (_, _, manifest) in enumerate(made):
        manifest["metadata"]["name"] = f"mutant-{place}"
        batch.append(manifest)
    before = {(each.check, each.resource) for each in grades["prod"].findings}
    after: dict[str, set[str]] = {}
    for each in grade(batch, tmp_path).findings:
        after.setdefault(each.resource, set()).add(each.check)

    missed = [
        f"{name}: {path}"
        for place, (name, path, _) in enumerate(made)
        if not {check for check in after.get(f"mutant-{place}", set()) if (check, name) not in before}
    ]
    caught = 1 - len(missed) / len(made)
    figure(f"hardening: {len(made)} fields taken away one at a time, {caught:.1%} noticed")
    assert len(made) > 200
    assert caught >= LEAST_CAUGHT, missed
