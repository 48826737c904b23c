"""Pulumi components for the whole life cycle of a machine-learning model on Kubernetes."""

import importlib
from typing import Any

# Modules are loaded on first use (PEP 562), so a program only pays for the components that it uses. Type checkers and
# editors read the same table from __init__.pyi.
_EXPORTS: dict[str, tuple[str, ...]] = {
    "modelops.airflow.args": (
        "AirflowPipelineArgs",
        "AirflowServer",
        "ExistingAirflow",
        "PipelineData",
        "PipelineTraining",
    ),
    "modelops.airflow.airflow_pipeline": ("AirflowPipeline",),
    "modelops.core.errors": ("ArgumentsError",),
    "modelops.core.images": ("UPSTREAM_IMAGES",),
    "modelops.core.types": ("ClusterNetwork", "Expose", "PodArgs", "Resources", "Toleration", "TopologySpread"),
    "modelops.data.data_pipeline": ("DataPipeline", "DataPipelineArgs", "DataVolume", "Engine"),
    "modelops.image.mlflow_image": ("mlflow_image",),
    "modelops.image.model_image": (
        "Compression",
        "ImageBuilder",
        "ModelImage",
        "ModelImageArgs",
        "RegistryCredentials",
    ),
    "modelops.monitoring.args": (
        "AlertmanagerPart",
        "Attach",
        "BasicAuth",
        "CertificateAuthority",
        "CertificateIssuer",
        "GrafanaPart",
        "GrafanaSidecar",
        "Part",
        "Prices",
        "PrometheusOperator",
        "PrometheusPart",
        "RemoteWrite",
        "SigV4",
        "Web",
    ),
    "modelops.monitoring.logs.args": (
        "ElasticsearchPart",
        "ElkPart",
        "ExistingElasticsearch",
        "FilebeatPart",
        "LogstashPart",
        "Snapshots",
    ),
    "modelops.monitoring.monitoring_stack": ("MonitoringStack", "MonitoringStackArgs"),
    "modelops.monitoring.receivers": (
        "EmailReceiver",
        "PagerDutyReceiver",
        "Receivers",
        "SlackReceiver",
        "WebhookReceiver",
    ),
    "modelops.registry.args": ("ArtifactStore", "RegistryAuth", "RegistryBackup", "RegistryDatabase"),
    "modelops.registry.model_promotion": ("ModelPromotion", "ModelPromotionArgs"),
    "modelops.registry.model_registry": ("ModelRegistry", "ModelRegistryArgs"),
    "modelops.serving.args": (
        "Adapter",
        "Autoscaling",
        "GatewayListener",
        "MetricNames",
        "ModelServiceArgs",
        "Rollout",
        "Route",
        "Runtime",
        "ScaleToZero",
        "ServingCache",
        "SmokePrompt",
        "SmokeTest",
        "Tracing",
        "Vllm",
    ),
    "modelops.serving.model_service": ("ModelService",),
    "modelops.serving.release.args": (
        "BlueGreen",
        "Canary",
        "CanaryAnalysis",
        "CanaryStep",
        "Colour",
        "Mirroring",
        "Shadow",
        "Split",
    ),
    "modelops.training.args": (
        "Backend",
        "Checkpoints",
        "Framework",
        "GateBounds",
        "Goal",
        "ModelCache",
        "Publisher",
        "TrainingJobArgs",
    ),
    "modelops.training.training_job": ("TrainingJob",),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULES, key=lambda name: (not name.isupper(), name))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
