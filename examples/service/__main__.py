"""The smallest service: a model version that is in a registry already, behind one address."""

import pulumi

from modelops import ModelService

config = pulumi.Config()
service = ModelService(
    "demo",
    {
        "namespace": config.require("namespace"),
        "image": config.require("image"),
        "model_uri": config.require("model_uri"),
        "tracking_uri": config.require("tracking_uri"),
        "expose": "LoadBalancer",
    },
)
pulumi.export("predict_url", service.predict_url)
