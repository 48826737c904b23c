"""Turns settings into the components' arguments. Nothing is decided here: names match, unset values are left out."""

from collections.abc import Mapping
from typing import Any, cast

import pulumi
from pydantic import BaseModel, SecretStr

from modelops import (
    DataPipeline,
    DataPipelineArgs,
    ModelImageArgs,
    ModelPromotionArgs,
    ModelRegistry,
    ModelRegistryArgs,
    ModelServiceArgs,
    MonitoringStackArgs,
    TrainingJobArgs,
)
from stacks.models import Settings
from stacks.platform import OPERATED

SOURCE_DATE_EPOCH = "315532800"
"""1980, before which no file in a ZIP archive can be. The same sources have one digest, whenever and wherever they are
built, and the runs that an image trains one identity."""


def image(settings: Settings, target: str) -> ModelImageArgs:
    """Arguments of the image of one target in the model's Dockerfile."""
    images = settings.images
    assert images is not None
    args: dict[str, Any] = {
        "context": settings.model.context,
        "target": target,
        "repository": f"{images.registry}/{settings.model.name.lower()}-{target}",
        "builder": images.builder,
    }
    args["build_args"] = {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    if images.base_image:
        args["build_args"]["BASE_IMAGE"] = images.base_image
    if images.platforms:
        args["platforms"] = images.platforms
    if images.builder == "docker-build":
        args |= {"cache": images.cache, "compression": images.compression}
        if images.builder_name:
            args["builder_name"] = images.builder_name
    if settings.image_registry_username and settings.image_registry_password:
        password = secret(settings.image_registry_password)
        args["credentials"] = {"username": settings.image_registry_username, "password": password}
    return cast(ModelImageArgs, args)


def registry(settings: Settings, namespace: pulumi.Input[str]) -> ModelRegistryArgs:
    """Arguments of the MLflow server."""
    fields = {"namespace": namespace, **_set_values(settings.registry, exclude=("protect",))}
    if settings.registry_admin_password:
        fields["auth"] = {"admin_password": secret(settings.registry_admin_password)}
    return cast(ModelRegistryArgs, fields)


def data(
    settings: Settings, namespace: pulumi.Input[str], image: pulumi.Input[str], registry: ModelRegistry
) -> DataPipelineArgs:
    """Arguments of the pipeline that prepares the training's data."""
    assert settings.data is not None
    fields = {"image": image, **_set_values(settings.service, only=("runtime_image",)), **_set_values(settings.data)}
    fields |= {"namespace": namespace, "tracking_uri": registry.tracking_uri}
    if registry.writer_secret is not None:
        fields["tracking_secret"] = registry.writer_secret
    return cast(DataPipelineArgs, fields)


def training(
    settings: Settings,
    namespace: pulumi.Input[str],
    image: pulumi.Input[str],
    registry: ModelRegistry,
    commit: str,
    prepared: DataPipeline | None = None,
) -> TrainingJobArgs:
    """Arguments of the training. `commit` is that of the model's sources; empty without one."""
    fields = _set_values(settings.model, exclude=("name", "context"))
    if settings.data is not None and prepared is not None:
        fields |= {"data_uri": prepared.data_uri, "data_version": prepared.data_version}
        if settings.data.volume is not None:
            fields["data_claim"] = prepared.data_claim
        if settings.data.data_secret is not None:
            fields["data_secret"] = settings.data.data_secret
    fields |= {"model_name": settings.model.name, "namespace": namespace, "git_commit": commit}
    # What the service of this stack moves is what the gate compares with.
    fields["serving_alias"] = settings.service.serving_alias
    fields |= {"image": image, "tracking_uri": registry.tracking_uri, "tracking_url": registry.url}
    if registry.writer_secret is not None:
        fields["tracking_secret"] = registry.writer_secret
    return cast(TrainingJobArgs, fields)


def promotion(
    settings: Settings,
    namespace: pulumi.Input[str],
    release: pulumi.Output[Mapping[str, Any]],
    registry: ModelRegistry,
) -> ModelPromotionArgs:
    """Arguments of the promotion of another environment's release to this one's registry."""
    promote = settings.promote
    assert promote is not None
    fields: dict[str, Any] = {
        "namespace": namespace,
        "model_name": release["model_name"],
        "run_id": release["run_id"],
        "source_uri": promote.tracking_uri or release["tracking_uri"],
        "tracking_uri": registry.tracking_uri,
        "tracking_url": registry.url,
        "serving_alias": settings.service.serving_alias,
        **_set_values(settings.model, only=("gate", "first_version")),
        **_set_values(promote, exclude=("stack", "file", "tracking_uri", "tracking_secret", "tracking_token")),
    }
    if promote.tracking_secret:
        fields["source_secret"] = promote.tracking_secret
    if promote.tracking_token:
        fields["source_token"] = True
    if registry.writer_secret is not None:
        fields["tracking_secret"] = registry.writer_secret
    return cast(ModelPromotionArgs, fields)


def service(
    settings: Settings,
    namespace: pulumi.Input[str],
    image: pulumi.Input[str],
    registry: ModelRegistry,
    model_uri: pulumi.Input[str],
) -> ModelServiceArgs:
    """Arguments of the service."""
    fields = {"image": image, **_set_values(settings.service)}
    fields |= {"namespace": namespace, "model_uri": model_uri}
    fields |= {"tracking_uri": registry.tracking_uri, "tracking_url": registry.url}
    if registry.reader_secret is not None:
        fields["tracking_secret"] = registry.reader_secret
        fields["serving_alias_secret"] = registry.writer_secret
    return cast(ModelServiceArgs, fields)


def monitoring(
    settings: Settings,
    stack: str,
    namespace: pulumi.Input[str],
    agents_namespace: pulumi.Input[str],
    watched_namespace: pulumi.Input[str],
) -> MonitoringStackArgs:
    """Arguments of the monitoring stack."""
    fields = _set_values(settings.monitoring, exclude=("agents_namespace",))
    fields |= {"namespace": namespace, "watched_namespaces": [watched_namespace], "external_labels": {"stack": stack}}
    if settings.monitoring.has_agents and settings.agents_namespace != settings.monitoring_namespace:
        fields["agents_namespace"] = agents_namespace
    if "prometheus_operator" in fields.get("attach", {}):
        for part in OPERATED:
            del fields[part]
    elif settings.alertmanager_config:
        fields["alertmanager"]["config"] = secret(settings.alertmanager_config)
    if settings.grafana_admin_password and fields["grafana"]["enabled"]:
        fields["grafana"]["admin_password"] = secret(settings.grafana_admin_password)
    if settings.elastic_password and fields["elk"]["enabled"]:
        fields["elk"]["password"] = secret(settings.elastic_password)
    if settings.ca_key and "certificates" in fields:
        fields["certificates"]["ca_key"] = secret(settings.ca_key)
    fields["elk"] = {**_set_values(settings.service, only=("runtime_image",)), **fields["elk"]}
    if "existing" in fields["elk"]:
        for part in ("elasticsearch", "kibana"):
            del fields["elk"][part]
    elif snapshots := fields["elk"]["elasticsearch"].get("snapshots"):
        assert settings.snapshot_access_key is not None and settings.snapshot_secret_key is not None
        snapshots["access_key"] = secret(settings.snapshot_access_key)
        snapshots["secret_key"] = secret(settings.snapshot_secret_key)
    return cast(MonitoringStackArgs, fields)


def secret(value: SecretStr) -> pulumi.Output[str]:
    """A setting that is encrypted in both the config and the state."""
    return pulumi.Output.secret(value.get_secret_value())


def _set_values(group: BaseModel, exclude: tuple[str, ...] = (), only: tuple[str, ...] | None = None) -> dict[str, Any]:
    return group.model_dump(exclude_none=True, exclude=set(exclude), include=None if only is None else set(only))
