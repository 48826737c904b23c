"""What a field's name says of its value holds for all components alike."""

from typing import Any

import pytest

import modelops
from modelops.core.conventions import broken_rule, holds_secret, is_cron
from tests.package.test_consumer import MINIMAL
from tests.unit.components.harness import run
from tests.unit.components.test_arguments import FIELDS, changed

NOT_A_NAME = "Not_A_Name"
NAMES = [
    pytest.param(component, path, id=f"{component} {'.'.join(path)}")
    for component, path, _, kind, _ in FIELDS
    if kind is str and broken_rule(path[-1], NOT_A_NAME)
]


@pytest.mark.parametrize(("component", "path"), NAMES)
def test_what_names_an_object_of_the_cluster_must_be_able_to(component: str, path: tuple[str, ...]) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", changed(MINIMAL[component], path, NOT_A_NAME))
    assert f"{'.'.join(path)} is '{NOT_A_NAME}', must be " in str(caught.value)


@pytest.mark.parametrize(
    "field", ["tracking_secret", "storage.claim", "storage_class", "ca_config_map", "a.service_account"]
)
def test_names_of_objects_are_those_that_kubernetes_takes(field: str) -> None:
    for name in ("a", "0", "a.b-c", "a" * 253):
        assert broken_rule(field, name) is None
    for name in ("", "A", "a_b", "a..b", "-a", "a.", "a/b", "a b", "a\n", "a" * 254):
        assert "must be an object's name" in str(broken_rule(field, name))


def test_other_texts_are_free() -> None:
    assert broken_rule("experiment_name", NOT_A_NAME) is None


@pytest.mark.parametrize(
    "schedule",
    ["0 3 * * *", "*/5 * * * *", "0 0 1 jan-MAR mon-fri", "@daily", "1,2 3-4/2 ? * *", "0-59 0-23 1-31 1-12 0-6"],
)
def test_a_schedule_is_what_cron_reads(schedule: str) -> None:
    assert is_cron(schedule)


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "@dA",
        "@reboot",
        "60 * * * *",
        "* * * * 7",
        "5-1 * * * *",
        "*/0 * * * *",
        "0 3 * *",
        "a b c d e",
        "٣ * * * *",
    ],
)
def test_another_schedule_is_refused_in_the_plan(schedule: str) -> None:
    assert not is_cron(schedule)
    for component, changes in (
        ("DataPipeline", {"schedule": schedule}),
        ("ModelRegistry", {"backup": {"schedule": schedule}}),
    ):
        with pytest.raises(modelops.ArgumentsError, match="must be a cron expression such as"):
            getattr(modelops, component)("demo", {**MINIMAL[component], **changes})


def test_a_time_zone_is_one_that_exists() -> None:
    assert broken_rule("time_zone", "Europe/Rome") is None
    assert broken_rule("time_zone", "Europe/Atlantis") == "must be a time zone such as Europe/Rome"


VOLUMES = [
    pytest.param(component, path, id=f"{component} {'.'.join(path)}")
    for component, path, _, _, _ in FIELDS
    if path[-1] == "storage_size"
]


@pytest.mark.parametrize(("component", "path"), VOLUMES)
def test_a_volume_has_a_size(component: str, path: tuple[str, ...]) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", changed(MINIMAL[component], path, "0Gi"))
    assert f"{'.'.join(path)} is '0Gi', must be above 0" in str(caught.value)


ACCESSED = [
    pytest.param(component, path, id=f"{component} {'.'.join(path)}")
    for component, path, _, _, _ in FIELDS
    if path[-1] == "access_modes"
]


@pytest.mark.parametrize(
    "modes", [[], ["ReadWriteOnce", "ReadWriteOncePod"]], ids=["none", "two that exclude each other"]
)
@pytest.mark.parametrize(("component", "path"), ACCESSED)
def test_a_volume_has_modes_that_go_together(component: str, path: tuple[str, ...], modes: list[str]) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", changed(MINIMAL[component], path, modes))
    assert f"{'.'.join(path)} is {modes}, must have " in str(caught.value)


@pytest.mark.parametrize(
    ("component", "changes", "problem"),
    [
        (
            "ModelService",
            {"route": {"host": "A_b", "ingress_class": "nginx"}},
            "route.host is 'A_b', must be a host",
        ),
        ("ModelService", {"route": {"host": "1.2.3.4", "ingress_class": "nginx"}}, "must be a host name in lower case"),
        (
            "ModelService",
            {"route": {"host": "a", "ingress_class": "nginx", "annotations": {"a b": "c"}}},
            "route.annotations is 'a b', must be a name such as",
        ),
        (
            "ModelService",
            {"resource_claims": {"gpu": "One GPU"}},
            "resource_claims.gpu is 'One GPU', must be an",
        ),
        ("ModelService", {"fetch_command": []}, "fetch_command is [], must name a program"),
        (
            "ModelRegistry",
            {"backup": {"schedule": "nightly"}},
            "backup.schedule is 'nightly', must be a cron",
        ),
        ("AirflowPipeline", {"airflow": {"image": ""}}, "airflow.image is '', must not be empty"),
        (
            "MonitoringStack",
            {"attach": {"grafana": {"labels": {"a b": "c"}}}},
            "attach.grafana.labels is 'a b', must",
        ),
    ],
)
def test_what_the_api_server_would_refuse_is_refused_in_the_plan(
    component: str, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", {**MINIMAL[component], **changes})
    assert problem in str(caught.value)


def test_a_route_may_stand_for_all_hosts_of_a_domain() -> None:
    route = {"host": "*.example.com", "ingress_class": "nginx"}
    run(lambda: modelops.ModelService("demo", {**MINIMAL["ModelService"], "route": route}))


SECRETS = [
    pytest.param(component, path, id=f"{component} {'.'.join(path)}")
    for component, path, _, kind, _ in FIELDS
    if kind is str and holds_secret(path[-1])
]


@pytest.mark.parametrize("value", [1234567890123456, "1234567890123456\0"], ids=["a number", "a text"])
@pytest.mark.parametrize(("component", "path"), SECRETS)
def test_a_secret_is_in_no_error(component: str, path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", changed(MINIMAL[component], path, value))
    assert f"{'.'.join(path)} is not shown, must be " in str(caught.value)
    assert "1234567890123456" not in str(caught.value)


def test_every_secret_is_known_by_its_name() -> None:
    assert {path[-1] for _, path, _, kind, _ in FIELDS if kind is str and holds_secret(path[-1])} == {
        "access_key", "admin_password", "ca_key", "config", "password", "routing_key", "secret_key", "token",
    }  # fmt: skip
