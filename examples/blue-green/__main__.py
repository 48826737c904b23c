"""Two full tracks of which one answers. A release names the other colour `live`, and the version before `standby`."""

import pulumi

from modelops import BlueGreen, Colour, ModelService

config = pulumi.Config()
tracks: BlueGreen = {"live": Colour(config.require("live"))}
if standby := config.get("standby"):
    tracks["standby_model_uri"] = standby
service = ModelService(
    "demo",
    {
        "namespace": config.require("namespace"),
        "image": config.require("image"),
        "model_uri": config.require("model_uri"),
        "tracking_uri": config.require("tracking_uri"),
        "replicas": 1,
        "blue_green": tracks,
        "expose": "LoadBalancer",
    },
)
pulumi.export("predict_url", service.predict_url)
