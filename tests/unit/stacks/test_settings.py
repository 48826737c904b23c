"""Settings: what each stack says, and all problems in one error."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import modelops
from modelops import TrainingJobArgs
from stacks import arguments, models
from stacks.models import ModelSettings
from stacks.platform import Platform
from stacks.settings import Loaded, SettingsError, read
from tests.unit.stacks.support import REGISTRY, SECRETS, STACKS, config_of, program_config

PLATFORM = Platform(registry=REGISTRY)
MODEL = {"framework": "tensorflow"}


def load(values: dict[str, Any], **how: Any) -> Loaded:
    how = {"context": "kind-test", "platform": PLATFORM, **how}
    return read("test", values, **how)


def problems_of(values: dict[str, Any], **how: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(values, **how)
    first, *lines = str(caught.value).splitlines()
    assert first == "wrong settings of the stack 'test', nothing was changed:"
    return [line.removeprefix("  - ") for line in lines]


@pytest.mark.parametrize("stack", STACKS)
def test_each_stack_has_valid_settings(stack: str) -> None:
    config = config_of(stack)
    loaded = read(
        stack, program_config(config), context=config.get("kubernetes:context", "kind-test"), platform=PLATFORM
    )
    assert loaded.settings.model.gate["mse"].max is not None
    assert loaded.settings.namespace == f"modelops-{stack}"
    assert loaded.warnings == ()


def test_production_is_careful() -> None:
    config = config_of("prod")
    settings = read("prod", program_config(config), context="prod", platform=Platform()).settings
    assert settings.production
    assert settings.registry.protect
    assert settings.service.autoscaling is not None


# Elasticsearch's password is made up where none is given.
@pytest.mark.parametrize("secret", sorted(set(SECRETS) - {"modelops:elastic_password"}))
def test_production_needs_each_secret(secret: str) -> None:
    values = program_config({key: value for key, value in config_of("prod").items() if key != secret})
    assert any(f"{secret} is missing, it is required" in problem for problem in problems_of(values))


def test_a_cluster_with_its_own_alertmanager_has_its_receivers_there() -> None:
    values = program_config(
        {key: value for key, value in config_of("prod").items() if key != "modelops:alertmanager_config"}
    )
    monitoring = values["monitoring"] if isinstance(values["monitoring"], dict) else json.loads(values["monitoring"])
    monitoring = {**monitoring, "grafana": {"enabled": False}, "attach": {"prometheus_operator": {}, "grafana": {}}}
    settings = load({**values, "monitoring": monitoring}, context="prod").settings
    assert settings.monitoring.attach is not None
    args = arguments.monitoring(settings, "prod", "watch", "agents", "ml")
    assert not {"prometheus", "alertmanager", "node_exporter", "kube_state_metrics"} & set(args)
    assert args["attach"]["grafana"] == {
        "labels": {"grafana_dashboard": "1"},
        "folder": "ModelOps",
        "datasource": "prometheus",
    }
    both = {
        "model": MODEL,
        "monitoring": {**monitoring, "grafana": {"enabled": True}},
        "grafana_admin_password": "long enough",
    }
    assert any("must be false with monitoring.attach" in problem for problem in problems_of(both))


def test_settings_are_frozen() -> None:
    settings = load({"model": MODEL}).settings
    with pytest.raises(ValidationError):
        settings.namespace = "other"


def test_objects_come_as_json_or_as_they_are() -> None:
    assert load({"model": json.dumps(MODEL)}).settings == load({"model": MODEL}).settings


def test_grafana_is_off_unless_it_is_asked_for() -> None:
    assert not load({"model": MODEL}).settings.monitoring.grafana.enabled
    assert not load({"model": MODEL, "monitoring": {"grafana": {"image": "g:1"}}}).settings.monitoring.grafana.enabled


def test_a_secret_is_text_whatever_it_looks_like() -> None:
    config = json.dumps({"route": {"receiver": "team"}, "receivers": [{"name": "team"}]})
    found = load({"model": MODEL, "alertmanager_config": config}).settings.alertmanager_config
    assert found is not None and found.get_secret_value() == config


def test_every_problem_comes_at_once_with_key_value_and_rule() -> None:
    values = {
        "model": {"framework": "caffe", "gate": {"mse": {}, "r2": {"min": 2, "max": 1}}, "epochs": 3},
        "service": {"replicas": -1, "autoscaling": {"max_replicas": 1}, "expose": "Public"},
        "registry": {"storage_size": "big"},
        "monitoring": {"grafana": {"enabled": True}},
    }
    found = problems_of(values, platform=Platform(), context=None)
    expected = [
        "modelops:images.registry is missing, it is required (or a platform that has a registry)",
        "modelops:model.framework is 'caffe', must be one of 'tensorflow', 'pytorch', 'mxnet' or 'other'",
        "modelops:model.epochs is 3, must not be given; valid fields are ",
        "modelops:service.replicas is -1, must be at least 1",
        "modelops:service.expose is 'Public', must be one of 'LoadBalancer', 'ClusterIP' or 'NodePort'",
        "modelops:registry.storage_size is 'big', must match ",
        "modelops:service.autoscaling.max_replicas is 1, must be at least min_replicas (2)",
        "modelops:service.replicas is -1, must not be given with autoscaling, which sets it",
        "modelops:model.gate.mse is {}, must have min, max, min_delta or max_delta",
        "modelops:model.gate.r2.max is 1, must be at least min (2)",
        "modelops:grafana_admin_password is missing, it is required when monitoring.grafana is on",
        "kubernetes:context is missing, it is required",
    ]
    assert len(found) == len(expected), found
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


def test_an_empty_list_lacks_entries_and_a_long_value_is_shown_short() -> None:
    data = {"sources": [], "steps": [{"split": {}}]}
    empty, long = problems_of({"model": MODEL, "data": data, "namespace": "x" * 5000})
    assert {empty, long} == {
        "modelops:data.sources is [], must have at least 1 entries",
        f"modelops:namespace is '{'x' * 199}… (5002 characters), must have at most 50 characters",
    }


def test_a_release_is_made_here_or_taken_from_elsewhere() -> None:
    assert problems_of({"model": {}}) == [
        "modelops:model.framework is missing, it is required unless a release is promoted"
    ]
    both = {"promote": {"stack": "o/p/s", "file": "f"}, "model": {"gate": {"mse": {"max": 1}}}}
    assert problems_of(both) == ["modelops:promote is ['file', 'stack'], must have exactly one of stack and file"]
    idle = {"promote": {"stack": "o/p/s"}, "model": MODEL, "images": {"registry": "r"}}
    assert problems_of(idle) == [
        "modelops:images must not be given with promote: nothing is built or trained",
        "modelops:model.framework must not be given with promote: nothing is built or trained",
    ]
    promoting = load({"promote": {"file": "release.json"}, "model": {"gate": {"mse": {"max": 1}}}}).settings
    assert promoting.images is None


def test_wrong_production_settings_are_all_named() -> None:
    found = problems_of({"production": "true", "model": MODEL, "service": {"replicas": 1}})
    assert [problem.partition(" ")[0] for problem in found] == [
        "modelops:alertmanager_config",
        "modelops:monitoring.web.tls",
        "modelops:registry.protect",
        "modelops:registry_admin_password",
        "modelops:registry.database",
        "modelops:registry.backup",
        "modelops:service.replicas",
        "kubernetes:context",
        "modelops:model.gate",
    ]


def test_secrets_in_clear_are_refused_and_never_shown() -> None:
    found = problems_of({"model": MODEL, "elastic_password": "hunter2 is long"}, is_secret=lambda _: False)
    assert found == [
        "modelops:elastic_password is not encrypted, must be set with "
        "`pulumi config set --secret modelops:elastic_password`"
    ]
    assert "hunter2" not in "".join(problems_of({"model": MODEL, "elastic_password": "hunter2"}))


def test_the_platform_fills_in_what_config_leaves_out() -> None:
    platform = Platform(registry="localhost:5000", builder="modelops", base_image="base@sha256:1")
    images = load({"model": MODEL}, platform=platform).settings.images
    assert (images.registry, images.builder_name, images.base_image) == ("localhost:5000", "modelops", "base@sha256:1")
    own = {"registry": "r.example.com", "base_image": "b"}
    images = load({"model": MODEL, "images": own}, platform=platform).settings.images
    assert (images.registry, images.base_image) == ("r.example.com", "b")


def test_the_platforms_builder_is_no_docker_engine() -> None:
    platform = Platform(registry="localhost:5000", builder="modelops")
    assert (
        load({"model": MODEL, "images": {"builder": "docker"}}, platform=platform).settings.images.builder_name is None
    )


def test_without_a_platform_file_there_are_no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELOPS_PLATFORM", raising=False)
    loaded = load({"model": MODEL, "images": {"registry": "r.example.com"}}, platform=None)
    assert loaded.settings.images.builder_name is None


def test_a_broken_platform_file_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text("{")
    monkeypatch.setenv("MODELOPS_PLATFORM", str(tmp_path / "platform.json"))
    found = problems_of({"model": MODEL, "images": {"registry": "r.example.com"}}, platform=None)
    assert found[0].startswith("MODELOPS_PLATFORM is ")


DATA = {"sources": [{"uri": "s3://raw/*.csv"}], "steps": [{"split": {}}], "destination": "s3://prepared"}


def test_prepared_data_and_other_data_exclude_each_other() -> None:
    problems = problems_of({"model": {**MODEL, "data_uri": "s3://x", "data_secret": "s"}, "data": DATA})
    assert problems == [
        f"modelops:model.{key} must not be given with data, which makes it" for key in ("data_uri", "data_secret")
    ]


def test_a_promoted_release_prepares_no_data() -> None:
    values = {"model": {}, "promote": {"file": "release.json"}, "data": DATA}
    assert problems_of(values) == ["modelops:data must not be given with promote: nothing is built or trained"]


def test_a_secret_among_the_datas_variables_is_refused_in_production() -> None:
    values = program_config(config_of("prod")) | {"data": {**DATA, "environment": {"AWS_SECRET_ACCESS_KEY": "x"}}}
    assert any(
        problem.startswith("modelops:data.environment.AWS_SECRET_ACCESS_KEY looks like")
        for problem in problems_of(values)
    )


GIVEN_BY_THE_STACK = {"namespace", "tracking_uri", "tracking_secret", "tracking_token", "tracking_url"}
CREDENTIALS = {
    "config",
    "receivers",
    "heartbeat_url",
    "admin_password",
    "password",
    "access_key",
    "secret_key",
    "auth",
    "ca_key",
}
"""Secrets are settings of their own at the top; `alertmanager_config` says who gets the alerts."""
SETTABLE: dict[str, tuple[type[BaseModel], type, set[str]]] = {
    "a training": (
        ModelSettings,
        TrainingJobArgs,
        GIVEN_BY_THE_STACK | {"image", "runtime_image", "model_name", "serving_alias", "git_commit"},
    ),
    "a data pipeline": (
        models.DataSettings,
        modelops.DataPipelineArgs,
        # A version that a schedule makes is in no plan, and so no training's.
        GIVEN_BY_THE_STACK | {"schedule", "time_zone"},
    ),
    "a data pipeline's volume": (models.DataVolumeSettings, modelops.DataVolume, set()),
    "checkpoints": (models.CheckpointSettings, modelops.Checkpoints, set()),
    "a model cache": (models.VolumeSettings, modelops.ModelCache, set()),
    "a toleration": (models.TolerationSettings, modelops.Toleration, set()),
    "a publisher": (models.PublisherSettings, modelops.Publisher, set()),
    "a promotion": (
        models.PromotionSettings,
        modelops.ModelPromotionArgs,
        GIVEN_BY_THE_STACK
        | {
            "image",
            "model_name",
            "run_id",
            "source_uri",
            "source_secret",
            "source_token",
            "gate",
            "first_version",
            "serving_alias",
            # What this stack takes over is a registered version.
            "model_uri",
            "repository",
            "repository_secret",
        },
    ),
    "a service": (
        models.ServiceSettings,
        modelops.ModelServiceArgs,
        # What this stack serves is what it trained, which is no large language model.
        GIVEN_BY_THE_STACK | {"model_uri", "serving_alias_secret", "runtime", "vllm"},
    ),
    "autoscaling": (models.AutoscalingSettings, modelops.Autoscaling, set()),
    "scale to zero": (models.ScaleToZeroSettings, modelops.ScaleToZero, set()),
    "a rollout": (models.RolloutSettings, modelops.Rollout, set()),
    "tracing": (models.TracingSettings, modelops.Tracing, set()),
    "a smoke test": (models.SmokeTestSettings, modelops.SmokeTest, {"prompts"}),
    "a serving cache": (models.ServingCacheSettings, modelops.ServingCache, set()),
    "a route": (models.RouteSettings, modelops.Route, set()),
    "a gateway": (models.GatewaySettings, modelops.GatewayListener, set()),
    "a canary": (models.CanarySettings, modelops.Canary, set()),
    "a canary's step": (models.CanaryStepSettings, modelops.CanaryStep, set()),
    "a canary's analysis": (
        models.AnalysisSettings,
        modelops.CanaryAnalysis,
        {"max_first_token_ratio", "max_token_interval_ratio", "max_answer_length_ratio"},
    ),
    "blue/green": (models.BlueGreenSettings, modelops.BlueGreen, set()),
    "a shadow": (models.ShadowSettings, modelops.Shadow, set()),
    "a registry": (models.RegistrySettings, modelops.ModelRegistryArgs, GIVEN_BY_THE_STACK | CREDENTIALS),
    "a registry's database": (models.DatabaseSettings, modelops.RegistryDatabase, set()),
    "a registry's files": (models.ArtifactSettings, modelops.ArtifactStore, set()),
    "a registry's back-up": (models.BackupSettings, modelops.RegistryBackup, set()),
    "monitoring": (
        models.MonitoringSettings,
        modelops.MonitoringStackArgs,
        GIVEN_BY_THE_STACK | {"watched_namespaces", "external_labels"},
    ),
    "Prometheus": (models.PrometheusSettings, modelops.PrometheusPart, set()),
    "Alertmanager": (models.AlertmanagerSettings, modelops.AlertmanagerPart, CREDENTIALS),
    "Grafana": (models.GrafanaSettings, modelops.GrafanaPart, CREDENTIALS),
    "remote write": (models.RemoteWriteSettings, modelops.RemoteWrite, set()),
    "a password of remote write": (models.BasicAuthSettings, modelops.BasicAuth, set()),
    "AWS's signatures": (models.SigV4Settings, modelops.SigV4, set()),
    "who signs certificates": (models.CertificateSettings, modelops.CertificateAuthority, CREDENTIALS),
    "an issuer": (models.IssuerSettings, modelops.CertificateIssuer, set()),
    "an exporter": (models.PartSettings, modelops.Part, set()),
    "logs": (models.ElkSettings, modelops.ElkPart, CREDENTIALS),
    "an existing Elasticsearch": (models.ExistingElasticsearchSettings, modelops.ExistingElasticsearch, set()),
    "Elasticsearch": (models.ElasticsearchSettings, modelops.ElasticsearchPart, set()),
    "snapshots": (models.SnapshotSettings, modelops.Snapshots, CREDENTIALS),
    "Logstash": (models.LogstashSettings, modelops.LogstashPart, set()),
    "Filebeat": (models.FilebeatSettings, modelops.FilebeatPart, set()),
    "monitoring's own TLS": (models.WebSettings, modelops.Web, set()),
    "an existing monitoring": (models.AttachSettings, modelops.Attach, set()),
    "prometheus-operator": (models.OperatorSettings, modelops.PrometheusOperator, set()),
    "Grafana's sidecar": (models.SidecarSettings, modelops.GrafanaSidecar, set()),
}


@pytest.mark.parametrize("what", SETTABLE)
def test_what_is_an_argument_can_be_set(what: str) -> None:
    settings, arguments_type, given = SETTABLE[what]
    missing = set(inspect.get_annotations(arguments_type)) - set(settings.model_fields) - given
    assert not missing, f"add {missing} to {settings.__name__} in stacks/models.py"
