"""The whole program of each stack, against mocks."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from modelops import UPSTREAM_IMAGES
from stacks import settings
from stacks.settings import SettingsError
from tests.unit.components.harness import Program, container, environment, run
from tests.unit.stacks.support import RELEASE, REPOSITORY, STACKS, config_of

OUTPUTS = {
    "url",
    "predict_url",
    "image",
    "run_id",
    "model_uri",
    "model_version",
    "tracking_uri",
    "metrics",
    "run_url",
    "release",
    "prometheus_url",
    "alertmanager_url",
    "grafana_url",
    "kibana_url",
    "elasticsearch_url",
}


def compose(
    stack: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    platform: dict[str, Any] | None = None,
    config: dict[str, str] | None = None,
    **how: Any,
) -> tuple[Program, dict[str, Any]]:
    program, exported = prepared(stack, monkeypatch, tmp_path, config_of(stack) | (config or {}), platform)
    how.setdefault("stacks", {"organization/modelops/staging": {"release": RELEASE}})
    return run(program, **how), exported


def prepared(
    stack: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: dict[str, str],
    platform: dict[str, Any] | None = None,
) -> tuple[Callable[[], dict[str, Any]], dict[str, Any]]:
    """The stack's program with that config, ready to run, and what it will have exported."""
    facts = tmp_path / "platform.json"
    facts.write_text(json.dumps({"registry": "localhost:5000", **(platform or {})}))
    monkeypatch.setenv("MODELOPS_PLATFORM", str(facts))
    kubeconfig = tmp_path / "kubeconfig"
    server = {"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}
    contexts = [{"name": "local", "context": {"cluster": "c"}}]
    kubeconfig.write_text(json.dumps({"current-context": "local", "clusters": [server], "contexts": contexts}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.chdir(REPOSITORY)
    exported: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)
    pulumi.runtime.set_all_config(config, [f"modelops:{key}" for key in settings.SECRETS])

    def program() -> dict[str, Any]:
        runpy.run_path(str(REPOSITORY / "__main__.py"), run_name="__main__")
        return exported

    return program, exported


@pytest.mark.parametrize("stack", STACKS)
def test_each_stack_composes_with_all_outputs(stack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, exported = compose(stack, monkeypatch, tmp_path)
    assert set(exported) == OUTPUTS | ({"data_version"} if stack == "dev" else set())
    assert all(program.outputs[name].value for name in OUTPUTS - {"metrics"})


@pytest.mark.parametrize("stack", STACKS)
def test_everything_goes_to_the_one_cluster(stack: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose(stack, monkeypatch, tmp_path)
    cluster, taking_over = program.of("providers:kubernetes")
    assert taking_over.inputs.pop("upsertExistingObjects") == "true" and taking_over.inputs == cluster.inputs
    for found in program.resources:
        if found.is_kubernetes:
            provider = taking_over if found.type.endswith("/v1:Namespace") else cluster
            assert f"::{provider.name}::" in found.provider, found.name


def test_namespaces_stay_with_the_volumes_that_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for stack, kept in (("dev", False), ("staging", True), ("prod", True)):
        program, _ = compose(stack, monkeypatch, tmp_path)
        namespaces = program.of("v1:Namespace")
        # The agents' has no volume.
        assert [found.options["retain_on_delete"] for found in namespaces] == [kept, kept, False]


def test_namespaces_that_a_team_was_given_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose("dev", monkeypatch, tmp_path, config={"modelops:create_namespaces": "false"})
    assert not program.of("v1:Namespace") and len(program.of("providers:kubernetes")) == 1
    assert program.one("Deployment", "model").inputs["metadata"]["namespace"] == "modelops-dev"
    agent = program.one("DaemonSet", "monitoring-node-exporter")
    assert agent.inputs["metadata"]["namespace"] == "modelops-dev-monitoring"


def test_a_team_says_which_namespace_it_was_given_for_agents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"modelops:create_namespaces": "false", "modelops:monitoring": '{"agents_namespace": "team-agents"}'}
    program, _ = compose("dev", monkeypatch, tmp_path, config=given)
    assert program.one("DaemonSet").inputs["metadata"]["namespace"] == "team-agents"


def test_names_are_known_before_the_images_are_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose("prod", monkeypatch, tmp_path, preview=True, load_balancer=None)
    assert program.outputs["url"].value == "https://model.example.com"
    assert program.outputs["tracking_uri"].value == "http://registry.modelops-prod.svc:5000"


def test_environments_differ_where_they_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dev, _ = compose("dev", monkeypatch, tmp_path)
    prod, _ = compose("prod", monkeypatch, tmp_path)
    assert dev.of("HorizontalPodAutoscaler") == []
    assert prod.one("HorizontalPodAutoscaler").inputs["spec"]["maxReplicas"] == 12
    assert prod.one("StatefulSet", "registry-postgres").options["protect"]
    assert not dev.one("PersistentVolumeClaim", "registry").options["protect"]
    assert prod.one("providers:kubernetes", "cluster").inputs["context"] == "prod"
    assert "context" not in dev.one("providers:kubernetes", "cluster").inputs


def test_the_training_reads_the_version_that_the_data_pipeline_makes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, _ = compose("dev", monkeypatch, tmp_path)
    preparing = environment(program.one("Job", "data"), "prepare")
    version = program.outputs["data_version"].value
    assert preparing["MODELOPS_DATA_VERSION"] == version
    assert preparing["MLFLOW_TRACKING_URI"] == "http://registry.modelops-dev.svc:5000"
    training = environment(program.one("Job", "training"), "train")
    assert training["MODELOPS_DATA_VERSION"] == version
    assert training["MODELOPS_DATA_URI"] == f"/data/prepared/{version}"
    claims = {
        name: [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in program.one("Job", name).inputs["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "data"
        ]
        for name in ("data", "training")
    }
    [claim] = claims["data"]
    assert claims["training"] == [claim]


def test_without_data_nothing_is_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, exported = compose("staging", monkeypatch, tmp_path)
    assert [found.name for found in program.of("DataPipeline")] == []
    assert "data_version" not in exported
    assert [found.name for found in program.of("ModelImage")] == ["train", "serve"]


def test_a_team_names_its_own_image_data_and_object_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = "registry.example.com/team/prepare@sha256:" + "c" * 64
    data = {
        "sources": [{"uri": "s3://raw/*.csv", "types": {"x": "number"}}],
        "steps": [{"split": {}}],
        "destination": "s3://prepared/x",
        "data_secret": "object-store",
        "image": image,
    }
    program, exported = compose("staging", monkeypatch, tmp_path, config={"modelops:data": json.dumps(data)})
    assert container(program.one("Job", "data"), "prepare")["image"] == image
    training = environment(program.one("Job", "training"), "train")
    assert training["MODELOPS_DATA_URI"] == f"s3://prepared/x/{program.outputs['data_version'].value}"
    assert [found.name for found in program.of("ModelImage")] == ["train", "serve"]
    sources = container(program.one("Job", "training"), "train")["envFrom"]
    assert {"secretRef": {"name": "object-store"}} in sources
    assert "data_version" in exported


def test_a_preview_shows_the_data_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose("dev", monkeypatch, tmp_path, preview=True, load_balancer=None)
    assert program.one("Job", "data").inputs["spec"]


def test_production_serves_what_staging_released(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose("prod", monkeypatch, tmp_path)
    assert [found.type for found in program.resources if "docker-build" in found.type or "Training" in found.type] == []
    serving = container(program.one("Deployment", "model"), "serve")
    assert serving["image"] == RELEASE["image"]
    assert program.outputs["image"].value == RELEASE["image"]
    assert program.outputs["model_uri"].value == "models:/linear@run-0123456789ab"
    told = environment(program.one("Job", "promotion"), "transfer")
    assert told["MODELOPS_GATE"] == '{"mse":{"max":0.08}}'
    assert told["MODELOPS_SOURCE_URI"] == "https://mlflow.staging.example.com"
    assert told["MLFLOW_TRACKING_URI"] == "http://registry.modelops-prod.svc:5000"
    # And could be promoted from there in turn.
    passed_on = {
        key: program.outputs["release"].value[key] for key in ("image", "model_name", "run_id", "model_version")
    }
    assert passed_on.items() <= RELEASE.items()


@pytest.mark.parametrize(("stack", "job", "judge"), [("dev", "training", "publish"), ("prod", "promotion", "transfer")])
def test_a_relative_gate_compares_with_what_the_stacks_own_service_moves(
    stack: str, job: str, judge: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = config_of(stack)
    model = {**json.loads(values["modelops:model"]), "gate": {"mse": {"max_delta": 0}}, "first_version": True}
    service = {**json.loads(values["modelops:service"]), "serving_alias": "live"}
    config = {"modelops:model": json.dumps(model), "modelops:service": json.dumps(service)}
    program, _ = compose(stack, monkeypatch, tmp_path, config=config)
    told = environment(program.one("Job", job), judge)
    assert (told["MODELOPS_SERVING_ALIAS"], told["MODELOPS_FIRST_VERSION"]) == ("live", "true")
    assert environment(program.one("Job", "model-alias"), "promote")["MODELOPS_SERVING_ALIAS"] == "live"


def test_a_preview_knows_what_is_promoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, _ = compose("prod", monkeypatch, tmp_path, preview=True, load_balancer=None)
    assert program.outputs["image"].value == RELEASE["image"]
    assert program.outputs["model_uri"].value == "models:/linear@run-0123456789ab"


def test_a_release_can_come_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text(json.dumps(RELEASE))
    promote = {"modelops:promote": json.dumps({"file": str(tmp_path / "release.json")})}
    program, _ = compose("prod", monkeypatch, tmp_path, config=promote)
    assert program.outputs["image"].value == RELEASE["image"]
    told = environment(program.one("Job", "promotion"), "transfer")
    assert told["MODELOPS_SOURCE_URI"] == RELEASE["tracking_uri"]


@pytest.mark.parametrize(
    ("release", "says"),
    [
        (None, "the output `release` of the stack organization/modelops/staging is missing; deploy the stack"),
        ({**RELEASE, "run_id": ""}, "has no run_id"),
        ({**RELEASE, "image": "linear-serve:latest"}, "has the image 'linear-serve:latest', must be named by digest"),
    ],
)
def test_a_release_that_is_not_whole_is_refused(
    release: Any, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(pulumi.RunError, match=re.escape(says)):
        compose("prod", monkeypatch, tmp_path, stacks={"organization/modelops/staging": {"release": release}})


def test_a_release_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    promote = {"modelops:promote": json.dumps({"file": "nowhere.json"})}
    with pytest.raises(pulumi.RunError, match=r"nowhere\.json can't be read"):
        compose("prod", monkeypatch, tmp_path, config=promote)


def test_unavailable_images_turn_parts_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = {image: "gone" for name, image in UPSTREAM_IMAGES.items() if name in ("grafana", "elasticsearch")}
    _, exported = compose("dev", monkeypatch, tmp_path, platform={"unavailable": gone})
    assert set(exported) == (OUTPUTS | {"data_version"}) - {"grafana_url", "kibana_url", "elasticsearch_url"}


def test_wrong_settings_create_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"modelops:service\.replicas is -1, must be at least 1"):
        compose("dev", monkeypatch, tmp_path, config={"modelops:service": '{"replicas": -1}'})
