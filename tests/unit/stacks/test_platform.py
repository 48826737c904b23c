"""Images that a platform stands in for, or lacks."""

import json
import subprocess
import sys
from typing import Any

import pytest

from modelops import UPSTREAM_IMAGES
from stacks.images import images_of
from stacks.platform import Platform, required_images
from stacks.settings import SettingsError, read
from tests.unit.stacks.support import REGISTRY, REPOSITORY, STACKS, config_of, program_config

FULL = {"artifacts": {"uri": "s3://models"}}
WHY = "host could not be resolved"


def load(unavailable: tuple[str, ...] = (), images: dict[str, str] | None = None, **values: Any) -> Any:
    platform = Platform(
        registry=REGISTRY,
        images=images or {},
        unavailable={UPSTREAM_IMAGES.get(name, name): WHY for name in unavailable},
    )
    return read("dev", {**program_config(config_of("dev")), **values}, context="kind-test", platform=platform)


def test_substitutes_are_used() -> None:
    substitutes = {UPSTREAM_IMAGES["mlflow"]: "local/mlflow", UPSTREAM_IMAGES["prometheus"]: "local/prometheus"}
    loaded = load(images=substitutes)
    assert loaded.settings.registry.image == "local/mlflow"
    assert loaded.settings.monitoring.prometheus.image == "local/prometheus"
    assert loaded.warnings == ()


def test_a_part_whose_image_cannot_be_had_is_off_with_one_line() -> None:
    loaded = load(("grafana",))
    assert not loaded.settings.monitoring.grafana.enabled
    assert loaded.warnings == (f"grafana is off for this run: {UPSTREAM_IMAGES['grafana']} can't be pulled ({WHY})",)


@pytest.mark.parametrize(
    ("missing", "off"),
    [
        (("prometheus",), {"prometheus", "grafana"}),
        (("elasticsearch",), {"elk"}),
        (("logstash",), {"logstash"}),
        (("kibana",), {"kibana"}),
        (("elasticsearch", "logstash", "kibana", "filebeat"), {"elk"}),
        (("kube_state_metrics", "node_exporter"), {"kube_state_metrics", "node_exporter"}),
    ],
)
def test_what_makes_no_sense_without_it_is_off_too(missing: tuple[str, ...], off: set[str]) -> None:
    loaded = load(missing)
    assert {line.partition(" ")[0] for line in loaded.warnings} == off
    assert len(loaded.warnings) == len(off)


def test_an_image_that_config_names_is_the_one_that_counts() -> None:
    loaded = load(("prometheus",), monitoring={"prometheus": {"image": "mirror/prometheus:1"}})
    assert loaded.settings.monitoring.prometheus.enabled
    assert loaded.warnings == ()
    assert not load(
        ("mirror/prometheus:1",), monitoring={"prometheus": {"image": "mirror/prometheus:1"}}
    ).settings.monitoring.prometheus.enabled


def test_parts_that_the_clusters_operator_replaces_need_no_image() -> None:
    wanted = required_images({"monitoring": {"attach": {"prometheus_operator": {}}}})
    assert set(wanted) == {"python", "mlflow"}


def test_a_part_that_is_off_anyway_is_not_mentioned() -> None:
    assert load(("grafana",), monitoring={"grafana": {"enabled": False}}).warnings == ()


def test_the_stack_cannot_do_without_its_registry() -> None:
    with pytest.raises(
        SettingsError, match=r"modelops:registry\.image is .*must be an image that the cluster can pull"
    ):
        load(("mlflow",))


def test_without_a_load_balancer_services_are_at_node_ports() -> None:
    platform = Platform(registry=REGISTRY, load_balancer=False, node_host="192.0.2.7")
    loaded = read("dev", program_config(config_of("dev")), context="kind-test", platform=platform)
    for group in (loaded.settings.service, loaded.settings.registry, loaded.settings.monitoring):
        assert (group.expose, group.host) == ("NodePort", "192.0.2.7")
    assert [line.partition(" ")[0] for line in loaded.warnings] == ["service", "registry", "monitoring"]


def test_required_images_are_those_of_the_parts_that_are_on() -> None:
    light = set(UPSTREAM_IMAGES) - {"mlflow_full", "postgres"}
    assert set(required_images({})) == light - {
        "grafana",
        "elasticsearch",
        "logstash",
        "kibana",
        "filebeat",
    }
    everything = {"monitoring": {"grafana": {"enabled": True}, "elk": {"enabled": True}}}
    assert set(required_images(everything)) == light


def test_the_registrys_image_depends_on_what_it_has_to_do() -> None:
    for raw in ({"registry": {"artifacts": {"uri": "s3://a"}}}, {"registry_admin_password": "x"}):
        # What publishes a training needs MLflow's smaller image whatever the registry does.
        assert {"mlflow", "mlflow_full"} == set(required_images(raw)) & {"mlflow", "mlflow_full", "postgres"}
        assert "mlflow" not in required_images({**raw, "promote": {"stack": "o/p/s"}})
    found = required_images({"registry": {"database": {"image": "mirror/postgres:15"}}})
    assert (found["postgres"], "mlflow_full" in found) == ("mirror/postgres:15", True)


def test_a_runtime_image_of_ones_own_takes_the_place_of_the_upstream_one() -> None:
    wanted = required_images(
        {"service": {"runtime_image": "mirror/python:3.12"}, "model": {"runtime_image": "m/mlflow:3"}, "registry": FULL}
    )
    assert (wanted["python"], wanted["mlflow"]) == ("mirror/python:3.12", "m/mlflow:3")


@pytest.mark.parametrize(
    ("missing", "registry", "setting"),
    [
        ("python", {}, "service.runtime_image"),
        ("mlflow", FULL, "model.runtime_image"),
        ("mlflow", {}, "registry.image"),
    ],
)
def test_the_setting_for_an_image_that_the_pods_need_is_named(
    missing: str, registry: dict[str, Any], setting: str
) -> None:
    with pytest.raises(SettingsError, match=f"modelops:{setting} is .*must be an image that the cluster can pull"):
        load((missing,), registry=registry)


@pytest.mark.parametrize("stack", STACKS)
def test_each_stack_lists_its_images(stack: str) -> None:
    # Staging's registry needs the full image, and its training's publisher the other; prod trains nothing.
    other = {"dev": {"mlflow_full", "postgres"}, "staging": set(), "prod": {"mlflow"}}[stack]
    assert set(images_of(stack)) == {image for name, image in UPSTREAM_IMAGES.items() if name not in other}


def test_the_list_is_printed_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stacks.images", "dev"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert UPSTREAM_IMAGES["mlflow"] in json.loads(done.stdout)


def test_an_unknown_stack_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stacks.images", "nowhere"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "stack is 'nowhere', must be one of dev, prod, staging"
