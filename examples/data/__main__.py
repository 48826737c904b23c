"""Raw files on a volume, prepared, trained on and served: the model that `example` names."""

import pulumi
from raw_data import EXAMPLES

from modelops import DataPipeline, Framework, ModelService, TrainingJob

config = pulumi.Config()
namespace = config.require("namespace")
tracking_uri = config.require("tracking_uri")
example = EXAMPLES[config.require("example")]
data = DataPipeline(
    "data",
    {
        "namespace": namespace,
        "image": config.require("prepare_image"),
        "sources": example.sources("/data/raw"),
        "steps": example.steps,
        "target": example.target,
        "volume": {"claim": config.require("claim")},
        "tracking_uri": tracking_uri,
    },
)
training = TrainingJob(
    "training",
    {
        "namespace": namespace,
        "image": config.require("train_image"),
        "framework": Framework.TENSORFLOW,
        "model_name": config.require("example"),
        "tracking_uri": tracking_uri,
        "parameters": example.parameters,
        "gate": example.gate,
        "data_uri": data.data_uri,
        "data_version": data.data_version,
        "data_claim": data.data_claim,
    },
)
service = ModelService(
    "service",
    {
        "namespace": namespace,
        "image": config.require("image"),
        "model_uri": training.model_uri,
        "tracking_uri": tracking_uri,
    },
)
pulumi.export("predict_url", service.predict_url)
pulumi.export("metrics", training.metrics)
pulumi.export("data_version", data.data_version)
