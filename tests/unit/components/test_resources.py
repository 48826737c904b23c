"""Requests and limits of containers: the plan tells what the API server would refuse, whichever container it is of."""

from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

import modelops
from modelops.core.types import Resources
from tests.package.test_consumer import MINIMAL
from tests.unit.components.harness import Program
from tests.unit.components.test_arguments import FIELDS, RICH, changed, made
from tests.unit.components.test_placement import containers, every_pod

ARGUMENTS = [(component, path) for component, path, _, kind, _ in FIELDS if kind is Resources]
"""Every argument of every component that takes resources, found by its type."""
LIMITS = {
    "memory_limit": "24Mi 32Mi 64Mi 128Mi 192Mi 256Mi 384Mi 512Mi 640Mi 1Gi 2Gi 16Gi".split(),
    "cpu_limit": "4m 5m 10m 20m 50m 100m 200m 500m 4".split(),
}
"""What some container requests by default, and less: so the first one that the plan accepts is the request which it
compares with."""


def cases() -> list[Any]:
    found = []
    for name, (component, args) in RICH.items():
        for owner, path in ARGUMENTS:
            if owner == component and "secret" not in args.get(path[0], {}):
                found.append(pytest.param(name, path, id=f"{name}: {'.'.join(path)}"))
    return found


def over_their_limit(program: Program) -> list[str]:
    """Containers that request more than their limit, which the API server refuses."""
    found = []
    for resource, pod in every_pod(program):
        for container in containers(pod):
            requests, limits = (container["resources"].get(key, {}) for key in ("requests", "limits"))
            for key in requests.keys() & limits.keys():
                if parse_quantity(requests[key]) > parse_quantity(limits[key]):
                    found.append(f"{resource.type} {resource.name} {container['name']} {key}")
    return found


@pytest.mark.parametrize(
    ("component", "path"),
    [pytest.param(component, path, id=f"{component} {'.'.join(path)}") for component, path in ARGUMENTS],
)
def test_a_limit_below_the_default_request_is_refused_in_the_plan(component: str, path: tuple[str, ...]) -> None:
    args = changed(MINIMAL[component], path, {"cpu_limit": "1m", "memory_limit": "1Mi"})
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", args)
    for limit, request in (("cpu_limit is '1m'", "cpu"), ("memory_limit is '1Mi'", "memory")):
        assert f"{'.'.join(path)}.{limit}, must be at least {request}, which is " in str(caught.value)
    assert str(caught.value).count("by default") == 2


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize(("name", "path"), cases())
def test_a_limit_that_the_plan_accepts_is_one_that_every_container_keeps_to(
    name: str, path: tuple[str, ...], kind: str
) -> None:
    """One argument is for several containers, each with a request of its own: the largest one counts."""
    component, args = RICH[name]
    for limit in LIMITS[kind]:
        try:
            program = made(component, changed(args, path, {kind: limit}))
        except modelops.ArgumentsError as error:
            assert f"{'.'.join(path)}.{kind} is '{limit}', must be at least " in str(error)
        else:
            assert over_their_limit(program) == [], f"{kind}: {limit}"
            return
    pytest.fail("no limit is accepted")


def test_the_limits_that_are_tried_are_all_requests_of_containers() -> None:
    requests: dict[str, set[str]] = {"memory": set(), "cpu": set()}
    for component, args in RICH.values():
        if component == "ModelImage":
            continue
        for _, pod in every_pod(made(component, {key: value for key, value in args.items() if key != "resources"})):
            for container in containers(pod):
                for key, found in requests.items():
                    found |= {container["resources"]["requests"][key]} if container.get("resources") else set()
    assert requests["memory"] <= set(LIMITS["memory_limit"])
    assert requests["cpu"] <= set(LIMITS["cpu_limit"])


def test_every_component_that_takes_resources_is_tried() -> None:
    assert {component for component, _ in ARGUMENTS} == {component for component, _ in RICH.values()} - {"ModelImage"}
