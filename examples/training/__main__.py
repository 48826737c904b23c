"""A registry, a training behind a gate, and a service that gets what passed it."""

import pulumi

from modelops import Framework, ModelRegistry, ModelService, TrainingJob

config = pulumi.Config()
namespace = config.require("namespace")
registry = ModelRegistry("registry", {"namespace": namespace})
training = TrainingJob(
    "train",
    {
        "namespace": namespace,
        "image": config.require("train_image"),
        "model_name": "linear",
        "framework": Framework.TENSORFLOW,
        "tracking_uri": registry.tracking_uri,
        "parameters": {"epochs": 200, "learning_rate": 0.02, "seed": 7},
        "gate": {"mse": {"max": 0.1}},
    },
)
service = ModelService(
    "demo",
    {
        "namespace": namespace,
        "image": config.require("image"),
        "model_uri": training.model_uri,
        "tracking_uri": registry.tracking_uri,
        "expose": "LoadBalancer",
    },
)
pulumi.export("predict_url", service.predict_url)
pulumi.export("run_id", training.run_id)
pulumi.export("metrics", training.metrics)
