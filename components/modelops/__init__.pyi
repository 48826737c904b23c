"""Pulumi components for the whole life of a machine-learning model on Kubernetes."""

from modelops.airflow.airflow_pipeline import AirflowPipeline
from modelops.airflow.args import AirflowPipelineArgs, AirflowServer, ExistingAirflow, PipelineData, PipelineTraining
from modelops.core.errors import ArgumentsError
from modelops.core.images import UPSTREAM_IMAGES
from modelops.core.types import Expose, Resources, Toleration
from modelops.data.data_pipeline import DataPipeline, DataPipelineArgs, DataVolume, Engine
from modelops.image.mlflow_image import mlflow_image
from modelops.image.model_image import Compression, ImageBuilder, ModelImage, ModelImageArgs, RegistryCredentials
from modelops.monitoring.args import (
    AlertmanagerPart,
    Attach,
    GrafanaPart,
    GrafanaSidecar,
    Part,
    PrometheusOperator,
    PrometheusPart,
    Web,
)
from modelops.monitoring.logs.args import (
    ElasticsearchPart,
    ElkPart,
    ExistingElasticsearch,
    FilebeatPart,
    LogstashPart,
    Snapshots,
)
from modelops.monitoring.monitoring_stack import MonitoringStack, MonitoringStackArgs
from modelops.monitoring.receivers import EmailReceiver, PagerDutyReceiver, Receivers, SlackReceiver, WebhookReceiver
from modelops.registry.args import ArtifactStore, RegistryAuth, RegistryBackup, RegistryDatabase
from modelops.registry.model_promotion import ModelPromotion, ModelPromotionArgs
from modelops.registry.model_registry import ModelRegistry, ModelRegistryArgs
from modelops.serving.args import (
    Adapter,
    Autoscaling,
    GatewayListener,
    MetricNames,
    ModelServiceArgs,
    Rollout,
    Route,
    Runtime,
    ScaleToZero,
    ServingCache,
    SmokePrompt,
    SmokeTest,
    Tracing,
    Vllm,
)
from modelops.serving.model_service import ModelService
from modelops.serving.release.args import BlueGreen, Canary, CanaryAnalysis, Colour, Mirroring, Shadow, Split
from modelops.training.args import (
    Backend,
    Checkpoints,
    Framework,
    GateBounds,
    Goal,
    ModelCache,
    Publisher,
    TrainingJobArgs,
)
from modelops.training.training_job import TrainingJob

__all__ = [
    "UPSTREAM_IMAGES",
    "Adapter",
    "AirflowPipeline",
    "AirflowPipelineArgs",
    "AirflowServer",
    "AlertmanagerPart",
    "ArgumentsError",
    "ArtifactStore",
    "Attach",
    "Autoscaling",
    "Backend",
    "BlueGreen",
    "Canary",
    "CanaryAnalysis",
    "Checkpoints",
    "Colour",
    "Compression",
    "DataPipeline",
    "DataPipelineArgs",
    "DataVolume",
    "ElasticsearchPart",
    "ElkPart",
    "EmailReceiver",
    "Engine",
    "ExistingAirflow",
    "ExistingElasticsearch",
    "Expose",
    "FilebeatPart",
    "Framework",
    "GateBounds",
    "GatewayListener",
    "Goal",
    "GrafanaPart",
    "GrafanaSidecar",
    "ImageBuilder",
    "LogstashPart",
    "MetricNames",
    "Mirroring",
    "ModelCache",
    "ModelImage",
    "ModelImageArgs",
    "ModelPromotion",
    "ModelPromotionArgs",
    "ModelRegistry",
    "ModelRegistryArgs",
    "ModelService",
    "ModelServiceArgs",
    "MonitoringStack",
    "MonitoringStackArgs",
    "PagerDutyReceiver",
    "Part",
    "PipelineData",
    "PipelineTraining",
    "PrometheusOperator",
    "PrometheusPart",
    "Publisher",
    "Receivers",
    "RegistryAuth",
    "RegistryBackup",
    "RegistryCredentials",
    "RegistryDatabase",
    "Resources",
    "Rollout",
    "Route",
    "Runtime",
    "ScaleToZero",
    "ServingCache",
    "Shadow",
    "SlackReceiver",
    "SmokePrompt",
    "SmokeTest",
    "Snapshots",
    "Split",
    "Toleration",
    "Tracing",
    "TrainingJob",
    "TrainingJobArgs",
    "Vllm",
    "Web",
    "WebhookReceiver",
    "mlflow_image",
]
