"""ModelPromotion: what it makes, and what it refuses."""

from typing import Any

import pulumi
import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, ModelPromotion
from modelops.kubernetes.runtime import runtime_command
from tests.unit.components.harness import (
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
    "namespace": "ml",
    "model_name": "linear",
    "run_id": "0123456789ab",
    "source_uri": "https://mlflow.staging.example.com",
    "tracking_uri": "http://registry.ml.svc:5000",
}
DIGEST = 64 * "a"
IMAGE: dict[str, Any] = {
    "namespace": "ml",
    "model_uri": f"oci://registry.staging.example.com/team/linear@sha256:{DIGEST}",
    "repository": "registry.example.com:5000/team/linear",
}
REPORT = {
    "run_id": "0123456789ab",
    "metrics": '{"mse": 0.04}',
    "experiment_id": "3",
    "mlflow_run_id": "abc",
}


def promote(args: dict[str, Any] = ARGS, **how: Any) -> Program:
    return run(lambda: ModelPromotion("demo", args, on(provider())), **how)  # type: ignore[arg-type]


def refused(**changes: Any) -> str:
    with pytest.raises(ArgumentsError) as caught:
        promote({key: value for key, value in {**ARGS, **changes}.items() if value is not None})
    return str(caught.value)


def test_one_job_copies_the_version() -> None:
    program = promote()
    job = program.one("Job")
    assert container(job, "transfer")["command"] == runtime_command("transfer")
    assert container(job, "transfer")["image"] == UPSTREAM_IMAGES["python"]
    told = environment(job, "transfer")
    assert told["MODELOPS_SOURCE_URI"] == "https://mlflow.staging.example.com"
    assert told["MLFLOW_TRACKING_URI"] == "http://registry.ml.svc:5000"
    assert (told["MODELOPS_MODEL_NAME"], told["MODELOPS_RUN_ID"]) == ("linear", "0123456789ab")
    assert told["MODELOPS_GATE"] == "{}"
    assert told["MODELOPS_REPORT"] == "ml/demo-report"
    assert breaks_restricted(job) == []
    assert job.inputs["spec"]["backoffLimit"] == 0


def test_the_version_keeps_its_name_and_is_waited_for() -> None:
    outputs = promote(records={"demo-reported": REPORT}).outputs
    assert outputs["model_uri"].value == "models:/linear@run-0123456789ab"
    assert outputs["model_version"].value == "run-0123456789ab"
    assert outputs["model_uri"].depends_on == {"demo"}
    assert outputs["metrics"].value == {"mse": 0.04}
    assert outputs["run_url"].value == "http://registry.ml.svc:5000/#/experiments/3/runs/abc"


def test_a_plan_knows_the_version_and_not_the_metrics() -> None:
    outputs = promote(preview=True).outputs
    assert outputs["model_uri"].value == "models:/linear@run-0123456789ab"
    assert not outputs["metrics"].known


def test_each_registry_has_an_account_of_its_own() -> None:
    job = promote({**ARGS, "source_secret": "reader", "tracking_secret": "writer"}).one("Job")
    found = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]["name"]
        for entry in container(job, "transfer")["env"]
        if "valueFrom" in entry
    }
    assert found == {
        "MLFLOW_TRACKING_USERNAME": "writer",
        "MLFLOW_TRACKING_PASSWORD": "writer",
        "MODELOPS_SOURCE_USERNAME": "reader",
        "MODELOPS_SOURCE_PASSWORD": "reader",
    }


def test_the_pod_reaches_the_registries_and_the_api_server_alone() -> None:
    rule, pods = promote().one("NetworkPolicy").inputs["spec"]["egress"]
    assert {entry["port"] for entry in rule["ports"]} == {53, 5353, 443, 5000, 6443, 6444, 8443, 16443}
    names = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in pods["to"]]
    assert names == ["ml"] and "ports" not in pods


def test_the_token_is_the_copying_containers_own_and_may_report_only() -> None:
    program = promote()
    assert pod(program.one("Job"))["automountServiceAccountToken"] is False
    [rule] = program.one("Role").inputs["rules"]
    assert rule["resourceNames"] == ["demo-report"] and rule["verbs"] == ["patch"]


def test_everything_given_reaches_the_job() -> None:
    program = promote(
        {
            **ARGS,
            "gate": {"mse": {"max": 0.1, "max_delta": 0.01}},
            "serving_alias": "live",
            "first_version": True,
            "experiment_name": "team",
            "tracking_url": "https://mlflow.example.com",
            "resources": {"memory_limit": "1Gi"},
            "image_pull_secret": "pull",
            "timeout_seconds": 60.0,
        },
        records={"demo-reported": REPORT},
    )
    job = program.one("Job")
    told = environment(job, "transfer")
    assert told["MODELOPS_GATE"] == '{"mse":{"max":0.1,"max_delta":0.01}}'
    assert (told["MODELOPS_SERVING_ALIAS"], told["MLFLOW_EXPERIMENT_NAME"]) == ("live", "team")
    assert told["MODELOPS_FIRST_VERSION"] == "true"
    assert container(job, "transfer")["resources"]["limits"] == {"memory": "1Gi"}
    assert pod(job)["imagePullSecrets"] == [{"name": "pull"}]
    assert job.inputs["spec"]["activeDeadlineSeconds"] == 60
    assert program.outputs["run_url"].value.startswith("https://mlflow.example.com/#/experiments/")


def test_every_child_is_on_the_given_provider() -> None:
    assert ignored_provider(promote()) == []


def test_wrong_arguments_are_refused_with_their_rules() -> None:
    assert "run_id is missing, it is required" in refused(run_id=None)
    assert "source_uri is 'registry', must be an http:// or https:// address" in refused(source_uri="registry")
    assert "timeout_seconds is 1, must be 30 to 86400" in refused(timeout_seconds=1)
    assert "gate.mse is {}, must have min, max, min_delta or max_delta" in refused(gate={"mse": {}})
    assert "serving_alias is missing, it is required with gate.mse.max_delta, to compare with" in refused(
        gate={"mse": {"max_delta": 0}}
    )
    assert "memory_limit is 8Mi" in refused(resources={"memory_limit": "8Mi"}).replace("'", "")


def test_an_image_is_copied_by_its_digest() -> None:
    program = promote({**IMAGE, "repository_secret": "logins", "image_pull_secret": "pull", "timeout_seconds": 60})
    job = program.one("Job")
    assert container(job, "replicate")["command"] == runtime_command("replicate")
    told = environment(job, "replicate")
    assert told["MODELOPS_SOURCE_IMAGE"] == f"registry.staging.example.com/team/linear@sha256:{DIGEST}"
    assert told["MODELOPS_TARGET_REPOSITORY"] == "registry.example.com:5000/team/linear"
    [logins] = [volume for volume in pod(job)["volumes"] if volume["name"] == "logins"]
    [mounted] = [each for each in container(job, "replicate")["volumeMounts"] if each["name"] == "logins"]
    assert logins["secret"] == {"secretName": "logins"}
    assert (mounted["mountPath"], mounted["readOnly"]) == (told["DOCKER_CONFIG"], True)
    assert breaks_restricted(job) == [] and ignored_provider(program) == []
    assert job.inputs["spec"]["activeDeadlineSeconds"] == 60
    [rule] = program.one("NetworkPolicy").inputs["spec"]["egress"]
    assert {entry["port"] for entry in rule["ports"]} == {53, 5353, 443, 5000}


def test_the_copy_of_an_image_is_waited_for() -> None:
    for preview in (True, False):
        outputs = promote(IMAGE, preview=preview).outputs
        assert outputs["model_uri"].value == f"oci://registry.example.com:5000/team/linear@sha256:{DIGEST}"
        assert outputs["model_version"].value == DIGEST[:12]
        assert "demo" in outputs["model_uri"].depends_on
        assert (outputs["run_id"].value, outputs["run_url"].value, outputs["metrics"].value) == ("", "", {})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_uri": "oci://registry/team/linear:v1"}, "must be oci://<repository>@sha256:<digest>"),
        ({"model_uri": "models:/linear/3"}, "must be oci://<repository>@sha256:<digest>"),
        ({"repository": None}, "repository is missing, it is required with model_uri"),
        ({"repository": "registry.example.com/team/linear:v1"}, "must not have a tag"),
        ({"run_id": "abc"}, "run_id is 'abc', must not be given with model_uri"),
        ({"gate": {"mse": {"max": 1}}}, "must not be given with model_uri, whose image is all that is copied"),
        (
            {"model_uri": None},
            "repository is 'registry.example.com:5000/team/linear', must only be given with model_uri",
        ),
    ],
)
def test_wrong_arguments_of_an_image_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        promote({key: value for key, value in {**IMAGE, **change}.items() if value is not None})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"model_uri": "oci://registry/team/linear:v1"},
            "model_uri is 'oci://registry/team/linear:v1', must be oci://",
        ),
        ({"repository": "registry.example.com/team/linear:v1"}, "must not have a tag"),
        ({"repository": "https://registry.example.com/linear"}, "must be an image repository in lower case"),
        ({"repository": "registry.example.com:port/linear"}, "must be an image repository in lower case"),
    ],
)
def test_wrong_outputs_are_refused_in_one_line(
    change: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", lambda message, resource: said.append(message))
    with pytest.raises(ValueError):
        promote({**IMAGE, **{key: pulumi.Output.from_input(value) for key, value in change.items()}})
    [only] = set(said)
    assert problem in only
    with pytest.raises(ArgumentsError) as caught:
        promote({**IMAGE, **change})
    assert str(caught.value) == only
