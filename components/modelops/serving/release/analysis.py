"""The analyst: a pod that compares the canary with the stable track, and the record that it leaves for the next plan.

Nothing here asks the cluster when a plan is made, but for one read of the record through the provider, which previews
make as well. The record's ConfigMap is Pulumi's, its data the analyst's: Pulumi names no data, so it owns none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.assets import asset
from modelops.core.outputs import known_or_none, with_dependencies
from modelops.kubernetes.config import config_map
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import API_SERVER_PORTS, allow_egress, net, port_of
from modelops.kubernetes.pods import (
    DefaultResources,
    container,
    core,
    from_config_map,
    mount,
    name_of,
    pull_secrets,
    resource_requirements,
    restricted_pod,
    scratch,
)
from modelops.serving.args import ModelServiceArgs
from modelops.serving.pod import NAME
from modelops.serving.release import args as defaults
from modelops.serving.release.args import CanaryAnalysis

_PROGRAM = "canary-analyst"
_SIZES = DefaultResources(cpu="10m", memory="32Mi", memory_limit="96Mi")
_FOLDER = "/modelops/analysis"


@dataclass(frozen=True)
class Record:
    """Where the analyst's record is, and what it says now."""

    place: core.ConfigMap
    data: pulumi.Output[Mapping[str, str] | None]


def record(service: str, namespace: pulumi.Input[str], opts: pulumi.ResourceOptions) -> Record:
    """The record's ConfigMap and its present data; None in the plan that is to create it, as there is nothing yet."""
    name = f"{service}-canary"
    place = core.ConfigMap(name, metadata=_metadata(service, name, namespace), opts=opts)
    live = core.ConfigMap.get(f"{name}-record", place.id, opts)
    return Record(place, known_or_none(live.data))


def deploy(
    service: str,
    args: ModelServiceArgs,
    place: core.ConfigMap,
    canary: pulumi.Resource,
    opts: pulumi.ResourceOptions,
) -> None:
    """The analyst's objects. It begins once the canary answers."""
    name, namespace = f"{service}-analyst", args["namespace"]
    metadata = _metadata(service, name, namespace)
    account = core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=opts)
    role = k8s.rbac.v1.Role(
        name,
        metadata=metadata,
        rules=[
            k8s.rbac.v1.PolicyRuleArgs(
                api_groups=[""], resources=["configmaps"], resource_names=[name_of(place)], verbs=["get", "patch"]
            )
        ],
        opts=opts,
    )
    binding = k8s.rbac.v1.RoleBinding(
        name,
        metadata=metadata,
        role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=name_of(role)),
        subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=name_of(account), namespace=namespace)],
        opts=opts,
    )
    analysis = args["canary"]["analysis"]
    prometheus_port = pulumi.Output.from_input(analysis["prometheus_url"]).apply(port_of)
    net.NetworkPolicy(
        name,
        metadata=metadata,
        spec=net.NetworkPolicySpecArgs(
            pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_PROGRAM, service)),
            policy_types=["Ingress", "Egress"],
            egress=[allow_egress(prometheus_port, *API_SERVER_PORTS)],
        ),
        opts=opts,
    )
    script = config_map(name, namespace, metadata.labels, {"analyst.py": asset("serving/assets/analyst.py")}, opts)  # type: ignore[arg-type]
    k8s.apps.v1.Deployment(
        name,
        metadata=metadata,
        spec=_deployment_spec(service, args, place, script, with_dependencies(name, account)),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[canary, binding])),
    )


def _metadata(service: str, name: str, namespace: pulumi.Input[str]) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=standard_labels(_PROGRAM, NAME, service))


def _deployment_spec(
    service: str,
    args: ModelServiceArgs,
    place: core.ConfigMap,
    script: core.ConfigMap,
    account: pulumi.Input[str],
) -> k8s.apps.v1.DeploymentSpecArgs:
    settings = pulumi.Output.json_dumps(_settings(service, args, place))
    return k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        revision_history_limit=1,
        # Two of them would write over each other.
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(_PROGRAM, service)),
        template=core.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(labels=standard_labels(_PROGRAM, NAME, service)),
            spec=core.PodSpecArgs(
                service_account_name=account,
                automount_service_account_token=True,
                enable_service_links=False,
                security_context=restricted_pod(),
                image_pull_secrets=pull_secrets(args.get("image_pull_secret")),
                volumes=[from_config_map("script", script), scratch()],
                containers=[
                    container(
                        "analyst",
                        args["canary"]["analysis"].get("image", args["image"]),
                        variables={"MODELOPS_ANALYSIS": settings},
                        command=["python3", f"{_FOLDER}/analyst.py"],
                        resources=resource_requirements(None, _SIZES),
                        volume_mounts=[mount("script", _FOLDER, read_only=True), mount("tmp", "/tmp")],
                    )
                ],
            ),
        ),
    )


def _settings(service: str, args: ModelServiceArgs, place: core.ConfigMap) -> dict[str, Any]:
    """What the script reads. Its versions are the arguments', not the plan's: a verdict changes nothing here."""
    canary = args["canary"]
    analysis = canary["analysis"]
    return {
        "namespace": args["namespace"],
        "service": service,
        "config_map": name_of(place),
        "prometheus_url": analysis["prometheus_url"],
        **{key: analysis[key] for key in ("prometheus_ca_certificate",) if key in analysis},
        "interval_seconds": analysis.get("interval_seconds", defaults.DEFAULT_INTERVAL_SECONDS),
        "declared": {"model_uri": args["model_uri"], "image": ""},
        "canary": {"model_uri": canary["model_uri"], "image": canary.get("image", "")},
        "bounds": _bounds(analysis),
    }


def _bounds(analysis: CanaryAnalysis) -> dict[str, float]:
    return {
        "max_extra_error_percent": analysis.get("max_extra_error_percent", defaults.DEFAULT_MAX_EXTRA_ERROR_PERCENT),
        "max_p99_ratio": analysis.get("max_p99_ratio", defaults.DEFAULT_MAX_P99_RATIO),
        "max_prediction_drift": analysis.get("max_prediction_drift", defaults.DEFAULT_MAX_PREDICTION_DRIFT),
        "max_restarts": analysis.get("max_restarts", defaults.DEFAULT_MAX_RESTARTS),
        "min_requests": analysis.get("min_requests", defaults.DEFAULT_MIN_REQUESTS),
        "min_seconds": analysis.get("min_seconds", defaults.DEFAULT_MIN_SECONDS),
    }
