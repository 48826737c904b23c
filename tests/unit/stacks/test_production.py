"""What a production stack refuses."""

from typing import Any

import pytest

from stacks import production
from tests.unit.stacks.support import config_of

DIGEST = "sha256:" + "0" * 64
SAFE: dict[str, Any] = {"model": {"gate": {"mse": {"max": 1}}}, "service": {}}


def test_a_safe_stack_is_let_through() -> None:
    assert list(production.unsafe(SAFE, "prod")) == []


def test_the_stack_of_this_repository_is_safe() -> None:
    assert config_of("prod")["kubernetes:context"] == "prod"


@pytest.mark.parametrize(
    ("change", "context", "says"),
    [
        ({}, None, "kubernetes:context is missing, it is required in production"),
        ({}, "minikube", "kubernetes:context is 'minikube', must not be a local cluster"),
        ({}, "kind-team", "must not be a local cluster"),
        ({"model": {}}, "prod", "modelops:model.gate is missing, it is required in production"),
        ({"service": {"autoscaling": {"min_replicas": 1}}}, "prod", "min_replicas is 1, must be at least 2"),
        ({"service": {"autoscaling": {"min_replicas": 0}}}, "prod", "min_replicas is 0, must be at least 2"),
        ({"registry": {"image": "mlflow"}}, "prod", "modelops:registry.image is 'mlflow', must have a digest or a tag"),
        ({"images": {"base_image": "r:5000/a/python:latest"}}, "prod", "images.base_image is 'r:5000/a/python:latest'"),
        ({"monitoring": {"grafana": {"image": "r:5000/grafana"}}}, "prod", "monitoring.grafana.image is"),
        ({"registry": {"image": "mlflow:stable"}}, "prod", "must have a digest or a tag that does not move"),
        ({"registry": {"image": "mlflow:v3"}}, "prod", "must have a digest or a tag that does not move"),
        ({"monitoring": {"alertmanager": {"enabled": False}}}, "prod", "alertmanager.enabled is false, must be true"),
        (
            {"model": {**SAFE["model"], "environment": {"DB_PASSWORD": "hunter2"}}},
            "prod",
            "modelops:model.environment.DB_PASSWORD looks like a secret, must come from a Secret",
        ),
        (
            {"model": {**SAFE["model"], "data_uri": "postgresql://reader:hunter2@db/data"}},
            "prod",
            "modelops:model.data_uri contains a password",
        ),
    ],
)
def test_what_is_unsafe_is_refused_with_its_rule(change: dict[str, Any], context: str | None, says: str) -> None:
    [problem] = production.unsafe({**SAFE, **change}, context)
    assert says in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "image", ["a/mlflow:v3.17.2", "r:5000/mlflow@sha256:" + "0" * 64, "mlflow:latest@sha256:" + "0" * 64]
)
def test_an_image_that_stays_what_it_is_is_let_through(image: str) -> None:
    assert list(production.unsafe({**SAFE, "registry": {"image": image}}, "prod")) == []
