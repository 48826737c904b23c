"""A registry that wants a bearer token: the pods get it from the Secret, in place of a name and a password."""

from collections.abc import Mapping
from typing import Any

import pytest

import modelops
from modelops.kubernetes.pods import tracking_credentials
from tests.package.test_consumer import PROMOTION, SERVING, TRAINING
from tests.unit.components.harness import Program, environment_references, run
from tests.unit.components.test_airflow_pipeline import ARGS as PIPELINE

TOKEN = {"tracking_secret": "proxy", "tracking_token": True}
COMPONENTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "a training": ("TrainingJob", {**TRAINING, **TOKEN}),
    "a service": ("ModelService", {**SERVING, **TOKEN, "serving_alias": "live", "serving_alias_secret": "proxy"}),
    "a promotion": ("ModelPromotion", {**PROMOTION, **TOKEN, "source_secret": "proxy", "source_token": True}),
    "a pipeline": ("AirflowPipeline", {**PIPELINE, "training": {**PIPELINE["training"], **TOKEN}}),
}


def made(case: str, **changes: Any) -> Program:
    component, args = COMPONENTS[case]
    return run(lambda: getattr(modelops, component)("demo", {**args, **changes}))


@pytest.mark.parametrize("case", COMPONENTS)
def test_every_container_that_asks_the_registry_has_the_token_alone(case: str) -> None:
    found = environment_references(made(case), secret="proxy")
    assert found
    assert {(name.rpartition("_")[2], key) for name, key in found} == {("TOKEN", "token")}


def test_a_promotion_may_have_a_token_at_one_end_and_an_account_at_the_other() -> None:
    found = environment_references(made("a promotion", source_token=False), secret="proxy")
    assert found == {
        ("MLFLOW_TRACKING_TOKEN", "token"),
        ("MODELOPS_SOURCE_USERNAME", "username"),
        ("MODELOPS_SOURCE_PASSWORD", "password"),
    }


def test_without_a_secret_there_is_nothing_to_send() -> None:
    assert tracking_credentials(None, token=True) == []
