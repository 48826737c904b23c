"""A script, an image and a server of your own: built, trained, judged, registered, served and watched."""

import pulumi

from modelops import ModelImage, ModelRegistry, ModelService, MonitoringStack, TrainingJob

config = pulumi.Config()
namespace = config.require("namespace")
image = ModelImage("image", {"context": "image", "repository": config.require("repository")})
registry = ModelRegistry("registry", {"namespace": namespace})
training = TrainingJob(
    "train",
    {
        "namespace": namespace,
        "image": image.ref,
        "command": ["python", "train.py"],
        "model_name": "diabetes",
        "framework": "other",
        "tracking_uri": registry.tracking_uri,
        "parameters": {"alpha": config.get_float("alpha") or 1.0},
        "gate": {"r2": {"min": 0.4}},
    },
)
service = ModelService(
    "diabetes",
    {
        "namespace": namespace,
        "image": image.ref,
        "serve_command": ["python", "serve.py"],
        "model_uri": training.model_uri,
        "tracking_uri": registry.tracking_uri,
        "resources": {"memory": "256Mi", "memory_limit": "512Mi"},
        "expose": "LoadBalancer",
    },
)
# A cluster needs one; leave it out where yours has a Prometheus.
off = {"enabled": False}
monitoring = MonitoringStack(
    "monitoring",
    {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "alertmanager": off,
        "node_exporter": off,
        "kube_state_metrics": off,
    },
)
pulumi.export("predict_url", service.predict_url)
pulumi.export("model_uri", training.model_uri)
pulumi.export("metrics", training.metrics)
pulumi.export("prometheus_url", monitoring.prometheus_url)
