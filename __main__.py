"""The stack: a model from its source to a live, watched service."""

import pulumi
import pulumi_kubernetes as k8s

from modelops import ModelImage, ModelPromotion, ModelRegistry, ModelService, MonitoringStack, TrainingJob
from stacks import arguments, promotion, settings
from stacks.source import commit_of


def namespace(name: str, profile: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A namespace that enforces one of Kubernetes' pod security profiles."""
    labels = {"app.kubernetes.io/part-of": "modelops", "pod-security.kubernetes.io/enforce": profile}
    created = k8s.core.v1.Namespace(name, metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=labels), opts=opts)
    return created.metadata.apply(lambda metadata: str(metadata["name"]))


loaded = settings.load()
for warning in loaded.warnings:
    pulumi.log.warn(warning)
chosen = loaded.settings
cluster = k8s.Provider("cluster", context=loaded.context)
on_cluster = pulumi.ResourceOptions(provider=cluster)
home = namespace(chosen.namespace, "restricted", on_cluster)
watch = namespace(chosen.monitoring_namespace, "privileged", on_cluster)

registry = ModelRegistry(
    "registry",
    arguments.registry(chosen, home),
    pulumi.ResourceOptions(provider=cluster, protect=chosen.registry.protect),
)
name: pulumi.Input[str] = chosen.model.name
image: pulumi.Output[str]
model: TrainingJob | ModelPromotion
if chosen.promote is None:
    image = ModelImage("serve", arguments.image(chosen, "serve")).ref
    train, publish = (ModelImage(target, arguments.image(chosen, target)).ref for target in ("train", "publish"))
    commit = commit_of(chosen.model.context)
    model = TrainingJob("training", arguments.training(chosen, home, train, publish, registry, commit), on_cluster)
else:
    release = promotion.release(chosen.promote)
    name, image = release["model_name"], release["image"]
    model = ModelPromotion("promotion", arguments.promotion(chosen, home, release, registry), on_cluster)
service = ModelService("model", arguments.service(chosen, home, image, registry, model.model_uri), on_cluster)
monitoring = MonitoringStack("monitoring", arguments.monitoring(chosen, pulumi.get_stack(), watch, home), on_cluster)

pulumi.export("url", service.url)
pulumi.export("predict_url", service.predict_url)
pulumi.export("image", image)
pulumi.export("run_id", model.run_id)
pulumi.export("model_uri", model.model_uri)
pulumi.export("model_version", model.model_version)
pulumi.export("tracking_uri", registry.url)
pulumi.export("metrics", model.metrics)
pulumi.export("run_url", model.run_url)
pulumi.export("release", promotion.released(name, image, model, registry))
for output in ("prometheus_url", "alertmanager_url", "grafana_url", "kibana_url", "elasticsearch_url"):
    if (url := getattr(monitoring, output)) is not None:
        pulumi.export(output, url)
