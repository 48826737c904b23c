"""Pulumi components for the whole life of a machine-learning model on Kubernetes."""

from modelops._errors import ArgumentsError
from modelops._types import Expose, Resources
from modelops.model_image import Compression, ImageBuilder, ModelImage, ModelImageArgs, RegistryCredentials
from modelops.model_registry import ModelRegistry, ModelRegistryArgs
from modelops.model_service import Autoscaling, ModelService, ModelServiceArgs
from modelops.training_job import Framework, GateBounds, Publisher, TrainingJob, TrainingJobArgs

__all__ = [
    "ArgumentsError",
    "Autoscaling",
    "Compression",
    "Expose",
    "Framework",
    "GateBounds",
    "ImageBuilder",
    "ModelImage",
    "ModelImageArgs",
    "ModelRegistry",
    "ModelRegistryArgs",
    "ModelService",
    "ModelServiceArgs",
    "Publisher",
    "RegistryCredentials",
    "Resources",
    "TrainingJob",
    "TrainingJobArgs",
]
