"""ModelService with blue and green tracks."""

from typing import Any

import pytest

from modelops import ArgumentsError, ModelService
from tests.unit.components.harness import IMAGE, Program, environment, run

A, B = "models:/linear@run-a", "models:/linear@run-b"
ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_uri": B,
    "tracking_uri": "http://registry.ml.svc:5000",
    "namespace": "ml",
    "replicas": 3,
    "blue_green": {"live": "green", "standby_model_uri": A},
}


def serve(args: Any, **how: Any) -> Program:
    return run(lambda: ModelService("demo", args), **how)


def picked(program: Program) -> list[str]:
    """The tracks to whose pods the Service leads."""
    selector = program.one("core/v1:Service").inputs["spec"]["selector"]
    return [
        found.name
        for found in program.of("Deployment")
        if selector.items() <= found.inputs["spec"]["template"]["metadata"]["labels"].items()
    ]


def uri(program: Program, deployment: str) -> str:
    return str(environment(program.one("Deployment", deployment), "fetch")["MODELOPS_MODEL_URI"])


def test_both_tracks_are_full_and_one_gets_all_requests() -> None:
    program = serve(ARGS)
    assert (uri(program, "demo-green"), uri(program, "demo-blue")) == (B, A)
    assert {found.inputs["spec"]["replicas"] for found in program.of("Deployment")} == {3}
    assert picked(program) == ["demo-green"]


def test_switching_back_changes_the_service_alone() -> None:
    back = serve({**ARGS, "model_uri": A, "blue_green": {"live": "blue", "standby_model_uri": B}})
    there = serve(ARGS)
    assert picked(back) == ["demo-blue"]
    for name in ("demo-blue", "demo-green"):
        assert back.one("Deployment", name).inputs == there.one("Deployment", name).inputs


def test_the_service_switches_once_the_live_track_answers_and_before_the_other_one_changes() -> None:
    program = serve(ARGS)
    assert "demo-green-watch" in program.one("core/v1:Service").options["dependencies"]
    assert "demo-blue-watch" not in program.one("core/v1:Service").options["dependencies"]
    assert "demo" in program.one("Deployment", "demo-blue").options["dependencies"]


def test_without_a_standby_there_is_one_track() -> None:
    program = serve({**ARGS, "blue_green": {"live": "blue"}})
    assert [found.name for found in program.of("Deployment")] == ["demo-blue"]


def test_each_track_has_an_autoscaler_of_its_own() -> None:
    args = {**ARGS, "autoscaling": {"max_replicas": 5}}
    del args["replicas"]
    scalers = serve(args).of("HorizontalPodAutoscaler")
    assert [found.inputs["spec"]["scaleTargetRef"]["name"] for found in scalers] == ["demo-green", "demo-blue"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"blue_green": {"live": "red"}}, "blue_green.live is 'red', must be one of blue, green"),
        ({"blue_green": {"live": "blue", "standby_model_uri": "x"}}, "blue_green.standby_model_uri is 'x'"),
        ({"canary": {"model_uri": A, "weight_percent": 25}}, "canary is 'given', must not be given with blue_green"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, **change})
    assert problem in str(caught.value)
