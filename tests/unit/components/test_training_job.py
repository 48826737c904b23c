"""TrainingJob: one Job for each distinct set of inputs."""

import json
from typing import Any

import pytest

from modelops import ArgumentsError, TrainingJob
from modelops._run_id import run_id
from tests.unit.components.harness import (
    DIGEST,
    IMAGE,
    Program,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

ARGS: dict[str, Any] = {
    "image": IMAGE,
    "model_name": "linear",
    "framework": "tensorflow",
    "namespace": "ml",
    "tracking_uri": "http://registry.ml.svc:5000",
}
EVERYTHING: dict[str, Any] = {
    **ARGS,
    "framework": "pytorch",
    "command": ["python", "train.py"],
    "parameters": {"epochs": 3, "nested": {"a": [1, "x"]}},
    "gate": {"mse": {"max": 1.2}, "r2": {"min": 0.5, "max": 1}},
    "data_uri": "s3://bucket/data.csv",
    "data_version": "7",
    "experiment_name": "trials",
    "resources": {"cpu": "2", "cpu_limit": "4", "memory": "8Gi", "memory_limit": "16Gi", "gpus": 1},
    "retries": 2,
    "timeout_seconds": 7200,
    "publisher": {"image": "publisher:1", "command": ["publish"]},
    "image_pull_secret": "registry",
}


def train(args: Any, **how: Any) -> Program:
    return run(lambda: TrainingJob("demo", args), **how)


def test_defaults() -> None:
    program = train(ARGS)
    job = program.one("Job")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3600)
    assert "ttlSecondsAfterFinished" not in spec
    assert container(job, "train")["command"][-4:] == ["train", "python", "-m", "model.train"]
    assert container(job, "publish")["command"][-4:] == ["publish", "python", "-m", "model.publish"]
    assert container(job, "publish")["image"] == IMAGE
    assert container(job, "train")["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "2Gi"},
    }
    variables = environment(job, "train")
    assert variables["MODELOPS_PARAMETERS"] == "{}"
    assert variables["MODELOPS_DATA_URI"] == variables["MODELOPS_DATA_VERSION"] == ""
    assert variables["MLFLOW_EXPERIMENT_NAME"] == "linear"
    assert environment(job, "publish")["MODELOPS_GATE"] == "{}"


def test_everything_set_is_kept() -> None:
    program = train(EVERYTHING)
    job = program.one("Job")
    spec = job.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 7200)
    assert container(job, "train")["command"][-3:] == ["train", "python", "train.py"]
    assert container(job, "publish")["image"] == "publisher:1"
    assert container(job, "publish")["command"][-2:] == ["publish", "publish"]
    assert container(job, "train")["resources"] == {
        "requests": {"cpu": "2", "memory": "8Gi"},
        "limits": {"memory": "16Gi", "cpu": "4", "nvidia.com/gpu": "1"},
    }
    variables = environment(job, "publish")
    assert json.loads(variables["MODELOPS_PARAMETERS"]) == {"epochs": 3, "nested": {"a": [1, "x"]}}
    assert json.loads(variables["MODELOPS_GATE"]) == {"mse": {"max": 1.2}, "r2": {"min": 0.5, "max": 1}}
    assert variables["MODELOPS_FRAMEWORK"] == "pytorch"
    assert variables["MODELOPS_DATA_URI"] == "s3://bucket/data.csv"
    assert variables["MLFLOW_EXPERIMENT_NAME"] == "trials"
    assert pod(job)["imagePullSecrets"] == [{"name": "registry"}]


def test_run_id_names_the_version_everywhere() -> None:
    program = train(EVERYTHING)
    expected = run_id(
        image_digest=DIGEST,
        command=["python", "train.py"],
        parameters=EVERYTHING["parameters"],
        data_uri="s3://bucket/data.csv",
        data_version="7",
        framework="pytorch",
        workers=1,
    )
    job = program.one("Job")
    assert program.outputs["run_id"].value == expected
    assert program.outputs["model_version"].value == f"run-{expected}"
    assert program.outputs["model_uri"].value == f"models:/linear@run-{expected}"
    assert environment(job, "publish")["MODELOPS_ALIAS"] == f"run-{expected}"
    assert environment(job, "train")["MODELOPS_RUN_ID"] == expected
    assert job.inputs["metadata"]["labels"]["app.kubernetes.io/version"] == f"run-{expected}"


def test_gate_resources_and_retries_keep_the_run_id() -> None:
    base = train(ARGS).outputs["run_id"].value
    changed = {**ARGS, "gate": {"mse": {"max": 1}}, "resources": {"cpu": "4"}, "retries": 3, "timeout_seconds": 60}
    assert train(changed).outputs["run_id"].value == base


def test_a_plan_knows_the_model_and_its_users_wait_for_the_job() -> None:
    found = train(ARGS, preview=True).outputs["model_uri"]
    assert found.known
    assert found.value.startswith("models:/linear@run-")
    assert "demo" in found.depends_on


def test_the_job_has_no_fixed_name_and_is_retried_when_it_failed() -> None:
    program = train(ARGS)
    metadata = program.one("Job").inputs["metadata"]
    assert "name" not in metadata
    assert metadata["annotations"] == {"pulumi.com/replaceUnready": "true"}
    assert program.outputs["job_name"].value == "demo-1a2b3c4d"


def test_immutable_fields_replace_the_job() -> None:
    assert train(ARGS).one("Job").options["replace_on_changes"] == [
        "spec.completionMode",
        "spec.podFailurePolicy",
        "spec.backoffLimitPerIndex",
    ]


def test_pulumi_waits_a_little_longer_than_the_deadline() -> None:
    assert train({**ARGS, "timeout_seconds": 7200}).one("Job").options["create_timeout"] == "7260s"


def test_disruptions_do_not_count_as_failures() -> None:
    rules = train(ARGS).one("Job").inputs["spec"]["podFailurePolicy"]["rules"]
    assert rules == [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]


def test_hopeless_exit_codes_are_not_retried() -> None:
    rules = train({**ARGS, "retries": 1}).one("Job").inputs["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 3]}}
    assert rules[1]["action"] == "Ignore"


def test_the_error_shows_the_last_lines_of_either_container() -> None:
    job = train(ARGS).one("Job")
    assert "initContainers" not in pod(job)
    for name in ("train", "publish"):
        assert container(job, name)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_pods_keep_the_restricted_profile_without_a_token() -> None:
    job = train(EVERYTHING).one("Job")
    assert breaks_restricted(job) == []
    assert pod(job)["automountServiceAccountToken"] is False
    assert container(job, "train")["securityContext"]["readOnlyRootFilesystem"] is True


def test_nobody_connects_to_a_training_pod() -> None:
    rules = train(ARGS).one("NetworkPolicy").inputs["spec"]
    assert rules["policyTypes"] == ["Ingress"]
    assert "ingress" not in rules


def test_provider_is_respected() -> None:
    def build() -> TrainingJob:
        return TrainingJob("demo", ARGS, on(provider()))  # type: ignore[arg-type]

    assert ignored_provider(run(build)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image": "team/model:latest"}, "must be named by digest (repository@sha256:…)"),
        ({"framework": "caffe"}, "framework is 'caffe', must be one of tensorflow, pytorch, mxnet"),
        ({"model_name": "-a"}, "model_name is '-a', must be letters"),
        ({"namespace": "Bad"}, "namespace is 'Bad', must be lower-case letters"),
        ({"tracking_uri": "registry"}, "tracking_uri is 'registry', must be an http:// or https:// address"),
        ({"retries": -1}, "retries is -1, must be 0 to 10"),
        ({"timeout_seconds": 5}, "timeout_seconds is 5, must be 30 to 604800"),
        ({"gate": {"mse": {}}}, "gate.mse is {}, must have min, max or both"),
        ({"gate": {"mse": {"min": 2, "max": 1}}}, "gate.mse.max is 1, must be at least min (2)"),
        ({"gate": {"mse": {"above": 1}}}, "gate.mse.above is 1, must not be given; known are max, min"),
        ({"parameters": {"a": float("nan")}}, "parameters.a is nan, must be something that JSON can say"),
        ({"parameters": {"a": {1, 2}}}, "must be something that JSON can say"),
        ({"resources": {"memory": "lots"}}, "resources.memory is 'lots', must be a Kubernetes quantity"),
        ({"resources": {"gpus": -1}}, "resources.gpus is -1, must be at least 0"),
        ({"command": []}, "command is [], must name a program"),
        ({"epochs": 3}, "epochs is 3, must not be given"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        train({**ARGS, **change})
    assert problem in str(caught.value)


def test_nothing_is_created_when_something_is_wrong() -> None:
    program = Program()

    def build() -> None:
        with pytest.raises(ArgumentsError):
            TrainingJob("demo", {})  # type: ignore[typeddict-item]

    program = run(build)
    assert program.resources == []


def test_a_long_name_is_refused() -> None:
    with pytest.raises(ArgumentsError, match="at most 50 characters"):
        run(lambda: TrainingJob("a" * 51, ARGS))  # type: ignore[arg-type]
