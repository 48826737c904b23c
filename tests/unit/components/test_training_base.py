"""TrainingJob's base model: part of the run's identity, fetched or mounted before the training."""

import json
from typing import Any

import pytest

from modelops import ArgumentsError, TrainingJob
from modelops.kubernetes.runtime import runtime_command, runtime_files
from modelops.training.base_model import OF_LORA
from modelops_runtime.language_models.finetune import parameters
from tests.unit.components.harness import IMAGE, Program, breaks_restricted, container, environment, pod, run

COMMIT = "0" * 40
DIGEST = f"sha256:{'a' * 64}"
HUB = f"hf://owner/model@{COMMIT}"
ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_name": "chat",
    "framework": "pytorch",
    "namespace": "ml",
    "tracking_uri": "http://registry.ml.svc:5000",
    "parameters": {"rank": 4},
}


def tune(base: dict[str, Any] | None, **more: Any) -> Program:
    args: Any = {**ARGS, **({} if base is None else {"base_model": base}), **more}
    return run(lambda: TrainingJob("demo", args))


def test_a_base_is_fetched_by_a_container_that_has_the_credentials() -> None:
    program = tune({"uri": HUB, "secret": "hub"}, tracking_secret="writer")
    job = program.one("Job", "demo")
    fetch, training = container(job, "fetch-base"), container(job, "train")
    variables, of_training = environment(job, "fetch-base"), environment(job, "train")
    assert fetch["image"] == IMAGE and fetch["command"] == runtime_command("fetch-base")
    assert fetch["envFrom"] == [{"secretRef": {"name": "hub"}}] and "envFrom" not in training
    assert variables["MODELOPS_BASE_MODEL"] == HUB
    assert variables["MODELOPS_BASES_DIR"] == of_training["MODELOPS_BASES_DIR"] == "/bases"
    assert {"name": "bases", "mountPath": "/bases"} in training["volumeMounts"]
    assert json.loads(of_training["MODELOPS_PARAMETERS"]) == {"base_model": HUB, "rank": 4}
    assert "MLFLOW_TRACKING_PASSWORD" in variables and "MLFLOW_TRACKING_PASSWORD" not in of_training
    assert breaks_restricted(job) == []


def test_its_program_is_among_those_that_the_library_brings() -> None:
    assert "modelops_runtime/language_models/base.py" in runtime_files("language_models.base")
    content = [
        next(each for each in tune(base).of("ConfigMap") if "binaryData" in each.inputs).inputs["metadata"][
            "annotations"
        ]
        for base in ({"uri": HUB}, None)
    ]
    assert content[0] != content[1]


def test_a_base_goes_into_the_cache_that_runs_share() -> None:
    program = tune({"uri": HUB}, model_cache={"claim": "weights"})
    job = program.one("Job", "demo")
    training = container(job, "train")
    assert environment(job, "train")["MODELOPS_BASES_DIR"] == "/cache"
    assert [each["name"] for each in training["volumeMounts"] if each["mountPath"] == "/cache"] == ["cache"]
    assert "bases" not in json.dumps(pod(job)["volumes"])


@pytest.mark.parametrize(
    ("base", "source", "path"),
    [
        (
            {"uri": "pvc://weights/tiny", "digest": DIGEST},
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
            {"subPath": "tiny"},
        ),
        (
            {"uri": f"oci://reg.io/team/model@{DIGEST}"},
            {"image": {"reference": f"reg.io/team/model@{DIGEST}", "pullPolicy": "IfNotPresent"}},
            {},
        ),
    ],
)
def test_what_pods_can_mount_is_not_fetched(base: dict[str, Any], source: dict[str, Any], path: dict[str, Any]) -> None:
    program = tune(base)
    job = program.one("Job", "demo")
    training = container(job, "train")
    assert environment(job, "train")["MODELOPS_BASE_DIR"] == "/base"
    assert {"name": "base", **source} in pod(job)["volumes"]
    assert {"name": "base", "mountPath": "/base", "readOnly": True, **path} in training["volumeMounts"]


def test_another_base_or_digest_is_another_run() -> None:
    runs = [
        tune(base).one("Job", "demo").inputs["metadata"]["labels"]["app.kubernetes.io/version"]
        for base in (
            {"uri": HUB},
            {"uri": f"hf://owner/model@{'1' * 40}"},
            {"uri": HUB, "digest": DIGEST},
            {"uri": HUB, "secret": "hub"},
        )
    ]
    assert len(set(runs)) == 3 and runs[0] == runs[3]


def test_a_base_named_in_the_parameters_alone_is_the_same_run() -> None:
    named = tune(None, parameters={"rank": 4, "base_model": HUB})
    labels = [
        each.one("Job", "demo").inputs["metadata"]["labels"]["app.kubernetes.io/version"]
        for each in (named, tune({"uri": HUB}))
    ]
    assert labels[0] == labels[1]


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ({"uri": "hf://owner/model"}, "must name a version that never moves"),
        ({"uri": "hf://owner/model@main"}, "must name a version that never moves"),
        ({"uri": "models:/chat@champion"}, "must name a version that never moves"),
        ({"uri": "oci://reg.io/team/model:1"}, "must name a version that never moves"),
        ({"uri": "s3://bucket/models/chat/1"}, "base_model.digest"),
        ({"uri": "pvc://weights/tiny"}, "base_model.digest"),
        ({"uri": "owner/model"}, "base_model.uri"),
        ({"uri": HUB, "digest": "sha256:1"}, "must be sha256: and 64 hexadecimal digits"),
    ],
)
def test_a_base_that_could_become_another_is_refused_in_the_plan(base: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError, match=problem):
        tune(base)


def test_a_base_is_not_named_twice() -> None:
    with pytest.raises(ArgumentsError, match="must not be given with base_model"):
        tune({"uri": HUB}, parameters={"base_model": HUB})


@pytest.mark.parametrize("name", ["rank", "alpha", "dropout", "target_modules"])
def test_full_weights_have_no_parameters_of_an_adapter(name: str) -> None:
    values = {"rank": 8, "alpha": 16, "dropout": 0.1, "target_modules": "q_proj"}
    with pytest.raises(ArgumentsError, match=f"parameters.{name} is .*, must not be given with the method full"):
        tune({"uri": HUB}, parameters={"method": "full", name: values[name]})
    tune({"uri": HUB}, parameters={"method": "lora", name: values[name]})
    tune(None, parameters={"method": "full", name: values[name]})  # of a training that is a team's own


def test_the_plan_knows_the_adapters_parameters_of_the_program() -> None:
    assert set(OF_LORA) == set(parameters._OF_LORA) <= set(parameters.Parameters.model_fields)
