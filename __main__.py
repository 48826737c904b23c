"""The stack: takes a model from its sources to a live, monitored service."""

import pulumi
import pulumi_kubernetes as k8s

from modelops import DataPipeline, ModelImage, ModelPromotion, ModelRegistry, ModelService, MonitoringStack, TrainingJob
from stacks import arguments, promotion
from stacks.namespaces import namespace
from stacks.settings import load
from stacks.source import commit_of

loaded = load()
for warning in loaded.warnings:
    pulumi.log.warn(warning)
settings = loaded.settings
cluster = k8s.Provider("cluster", context=loaded.context)
on_cluster = pulumi.ResourceOptions(provider=cluster)
ns: pulumi.Input[str] = settings.namespace
monitoring_ns: pulumi.Input[str] = settings.monitoring_namespace
agents_ns: pulumi.Input[str] = settings.agents_namespace
if settings.create_namespaces:
    protect = settings.registry.protect
    taking_over = k8s.Provider("namespaces", context=loaded.context, upsert_existing_objects=True)
    opts = pulumi.ResourceOptions(provider=taking_over, protect=protect)
    ns = namespace(settings.namespace, "restricted", settings.registry, settings.model, opts=opts)
    opts = pulumi.ResourceOptions(provider=taking_over)
    monitoring_ns = namespace(settings.monitoring_namespace, "restricted", settings.monitoring, opts=opts)
    if settings.monitoring.has_agents:
        agents_ns = namespace(settings.agents_namespace, "privileged", opts=opts)

registry = ModelRegistry(
    "registry",
    arguments.registry(settings, ns),
    pulumi.ResourceOptions(provider=cluster, protect=settings.registry.protect),
)
name: pulumi.Input[str] = settings.model.name
image: pulumi.Output[str]
model: TrainingJob | ModelPromotion
if settings.promote is None:
    train, image = (ModelImage(target, arguments.image(settings, target)).ref for target in ("train", "serve"))
    commit = commit_of(settings.model.context)
    data: DataPipeline | None = None
    if settings.data is not None:
        prepare = settings.data.image or ModelImage("prepare", arguments.image(settings, "prepare")).ref
        data = DataPipeline("data", arguments.data(settings, ns, prepare, registry), on_cluster)
        pulumi.export("data_version", data.data_version)
    model = TrainingJob("training", arguments.training(settings, ns, train, registry, commit, data), on_cluster)
else:
    release = promotion.release(settings.promote)
    name, image = release["model_name"], release["image"]
    model = ModelPromotion("promotion", arguments.promotion(settings, ns, release, registry), on_cluster)
service = ModelService("model", arguments.service(settings, ns, image, registry, model.model_uri), on_cluster)
monitoring_args = arguments.monitoring(settings, pulumi.get_stack(), monitoring_ns, agents_ns, ns)
monitoring = MonitoringStack("monitoring", monitoring_args, on_cluster)

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
