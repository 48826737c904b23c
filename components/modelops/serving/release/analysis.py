"""The analyst: a pod that compares the canary with the stable track, and the record that it keeps for the next update.

An update, or its preview, reads the record through the provider, and nothing else from the cluster. Pulumi owns the
record's ConfigMap, the analyst its data: Pulumi sets none, so it leaves the data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.model_sources import parse
from modelops.core.outputs import known_or_none, merged, timeouts, whole, with_dependencies
from modelops.kubernetes.access import grant, service_account
from modelops.kubernetes.config import config_map
from modelops.kubernetes.labels import scrape, selector, standard_labels
from modelops.kubernetes.network import allow_egress, allow_ingress, api_server_ports, network_policy
from modelops.kubernetes.pods import (
    PATIENCE_SECONDS,
    PROGRESS_SECONDS,
    DefaultResources,
    container,
    core,
    from_config_map,
    mount,
    name_of,
    pod_template,
    resource_requirements,
    scratch,
    single_replica,
)
from modelops.serving.args import MetricNames, ModelServiceArgs, is_vllm, runtime_image
from modelops.serving.pod import NAME, PORT
from modelops.serving.release import args as defaults
from modelops.serving.release import steps
from modelops.serving.release.args import CanaryAnalysis

_PROGRAM = "canary-analyst"
_DEFAULT_RESOURCES = DefaultResources(cpu="10m", memory="32Mi", memory_limit="96Mi")
_FOLDER = "/modelops/analysis"


@dataclass(frozen=True)
class Record:
    """The ConfigMap with the analyst's record, and its current data."""

    config_map: core.ConfigMap
    data: pulumi.Output[Mapping[str, str] | None]


def record(service: str, namespace: pulumi.Input[str], opts: pulumi.ResourceOptions) -> Record:
    """The record's ConfigMap and its current data, which is None in the preview that would create the ConfigMap."""
    name = f"{service}-canary"
    created = core.ConfigMap(name, metadata=_metadata(service, name, namespace), opts=opts)
    current = core.ConfigMap.get(f"{name}-record", created.id, opts)
    return Record(created, known_or_none(current.data))


def deploy(
    service: str,
    args: ModelServiceArgs,
    record: core.ConfigMap,
    canary: pulumi.Resource,
    replicas: Mapping[int, int],
    opts: pulumi.ResourceOptions,
) -> None:
    """Creates the analyst's objects. It starts once the canary answers. `replicas` are the canary's pods by its share,
    where they make it."""
    name, namespace = f"{service}-analyst", args["namespace"]
    metadata = _metadata(service, name, namespace)
    account = service_account(name, metadata, opts, args)
    rule = k8s.rbac.v1.PolicyRuleArgs(
        api_groups=[""], resources=["configmaps"], resource_names=[name_of(record)], verbs=["get", "patch"]
    )
    stepped = "steps" in args["canary"]
    rules = [rule, *(steps.rules(service, args) if stepped else [])]
    binding = grant(name, metadata, rules, name_of(account), opts)
    analysis = args["canary"]["analysis"]
    egress = allow_egress(args, analysis["prometheus_url"], *api_server_ports(args))
    ingress = [allow_ingress(PORT)] if stepped else []
    network_policy(name, metadata, selector(_PROGRAM, service), opts, ingress=ingress, egress=egress)
    script = config_map(name, namespace, metadata.labels, {"analyst.py": asset("serving/assets/analyst.py")}, opts)  # type: ignore[arg-type]
    k8s.apps.v1.Deployment(
        name,
        metadata=metadata,
        spec=_deployment_spec(
            service, args, _settings(service, args, record, replicas), script, with_dependencies(name, account)
        ),
        opts=merged(opts, depends_on=[canary, binding], custom_timeouts=timeouts(PROGRESS_SECONDS + PATIENCE_SECONDS)),
    )


def _metadata(service: str, name: str, namespace: pulumi.Input[str]) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=standard_labels(_PROGRAM, NAME, service))


def _deployment_spec(
    service: str,
    args: ModelServiceArgs,
    settings: Mapping[str, Any],
    script: core.ConfigMap,
    account: pulumi.Input[str],
) -> k8s.apps.v1.DeploymentSpecArgs:
    stepped = "steps" in args["canary"]
    analyst = container(
        "analyst",
        args["canary"]["analysis"].get("image", runtime_image(args)),
        variables={"MODELOPS_ANALYSIS": pulumi.Output.json_dumps(settings)},
        command=["python3", f"{_FOLDER}/analyst.py"],
        ports=[core.ContainerPortArgs(name="http", container_port=PORT)] if stepped else None,
        resources=resource_requirements(args.get("helper_resources"), _DEFAULT_RESOURCES),
        volume_mounts=[mount("script", _FOLDER, read_only=True), mount("tmp", "/tmp")],
    )
    # Not the component of the pods that serve, among which its metrics would count it.
    labels = standard_labels(_PROGRAM, _PROGRAM if stepped else NAME, service)
    volumes, scraped = [from_config_map("script", script), scratch()], scrape(PORT) if stepped else None
    template = pod_template(labels, account, [analyst], args, annotations=scraped, token=True, volumes=volumes)
    return single_replica(selector(_PROGRAM, service), template)


def _settings(
    service: str, args: ModelServiceArgs, record: core.ConfigMap, replicas: Mapping[int, int]
) -> dict[str, Any]:
    """The script's settings. Its versions come from the arguments, not the plan, so a verdict changes nothing here."""
    canary = args["canary"]
    analysis = canary["analysis"]
    ca = analysis.get("prometheus_ca_certificate")
    trust = {} if ca is None else {"prometheus_ca_certificate": ca}
    return {
        "namespace": args["namespace"],
        "service": service,
        "config_map": name_of(record),
        "prometheus_url": analysis["prometheus_url"],
        **trust,
        "interval_seconds": whole(analysis.get("interval_seconds", defaults.DEFAULT_INTERVAL_SECONDS)),
        "declared": _served(args["model_uri"], ""),
        "canary": _served(canary["model_uri"], canary.get("image", "")),
        **({"engine": "vllm"} if is_vllm(args) else {}),
        **(steps.settings(service, args, replicas) if "steps" in canary else {}),
        "bounds": {
            **_bounds(analysis),
            **(_engine_bounds(analysis) if is_vllm(args) else _server_bounds(analysis, args)),
        },
    }


def _served(uri: pulumi.Input[str], image: pulumi.Input[str]) -> dict[str, Any]:
    version = pulumi.Output.from_input(uri).apply(lambda known: parse(known).version)
    return {"model_uri": uri, "image": image, "version": version}


def _bounds(analysis: CanaryAnalysis) -> dict[str, pulumi.Input[float]]:
    return {
        "max_extra_error_percent": analysis.get("max_extra_error_percent", defaults.DEFAULT_MAX_EXTRA_ERROR_PERCENT),
        "max_restarts": whole(analysis.get("max_restarts", defaults.DEFAULT_MAX_RESTARTS)),
        "min_requests": whole(analysis.get("min_requests", defaults.DEFAULT_MIN_REQUESTS)),
        "min_seconds": whole(analysis.get("min_seconds", defaults.DEFAULT_MIN_SECONDS)),
    }


def drift_bound(analysis: CanaryAnalysis, args: ModelServiceArgs) -> pulumi.Input[float]:
    """How far predictions may drift; by default it is off with the metrics of a library that has no such metric."""
    names = MetricNames(args.get("metric_names", MetricNames.MODELOPS))
    default = defaults.DEFAULT_MAX_PREDICTION_DRIFT if names is MetricNames.MODELOPS else 0.0
    return analysis.get("max_prediction_drift", default)


def _server_bounds(analysis: CanaryAnalysis, args: ModelServiceArgs) -> dict[str, pulumi.Input[float]]:
    return {
        "max_p99_ratio": analysis.get("max_p99_ratio", defaults.DEFAULT_MAX_P99_RATIO),
        "max_prediction_drift": drift_bound(analysis, args),
    }


def _engine_bounds(analysis: CanaryAnalysis) -> dict[str, pulumi.Input[float]]:
    return {
        "max_first_token_ratio": analysis.get("max_first_token_ratio", defaults.DEFAULT_MAX_FIRST_TOKEN_RATIO),
        "max_token_interval_ratio": analysis.get("max_token_interval_ratio", defaults.DEFAULT_MAX_TOKEN_INTERVAL_RATIO),
        "max_answer_length_ratio": analysis.get("max_answer_length_ratio", defaults.DEFAULT_MAX_ANSWER_LENGTH_RATIO),
    }
