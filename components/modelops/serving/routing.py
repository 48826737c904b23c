"""How a service is reached: its Service, and where asked for an Ingress, or an HTTPRoute at a Gateway, before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, timeouts
from modelops.core.types import Expose
from modelops.kubernetes.network import net
from modelops.kubernetes.pods import core
from modelops.serving.args import DEFAULT_PORT, ModelServiceArgs, Route

GATEWAY_API = "gateway.networking.k8s.io/v1"
ROUTE_SECONDS = 180
"""How long a controller may take to accept a route."""
_ACCEPTED = 'jsonpath={.status.parents[*].conditions[?(@.type=="Accepted")].status}=True'


@dataclass(frozen=True)
class Backend:
    """A Service behind a route, and its share of the requests."""

    service: pulumi.Input[str]
    weight: pulumi.Input[int] = 100


def make_service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    selector: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> k8s.core.v1.Service:
    """The service's own address."""
    if "scale_to_zero" in args.get("autoscaling", {}):
        # Pulumi would wait for pods, and there may be none.
        metadata = _annotated(metadata, {"pulumi.com/skipAwait": "true"})
    return core.Service(
        name,
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            type=Expose(args.get("expose", Expose.CLUSTER_IP)).value,
            selector=selector,
            ports=[core.ServicePortArgs(name="http", port=args.get("port", DEFAULT_PORT), target_port="http")],
        ),
        opts=opts,
    )


def make_route(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    backends: Sequence[Backend],
    opts: pulumi.ResourceOptions,
    filters: Sequence[Mapping[str, Any]] = (),
) -> pulumi.Output[str]:
    """The Ingress, or the HTTPRoute, that `args["route"]` asks for, and the address that clients use."""
    route, port = args["route"], args.get("port", DEFAULT_PORT)
    opts = merged(opts, custom_timeouts=timeouts(ROUTE_SECONDS))
    made: pulumi.Resource
    if "ingress_class" in route:
        made = _ingress(name, metadata, route, backends[0], port, opts)
        for canary in backends[1:]:
            after = merged(opts, depends_on=[made])
            _canary_ingress(f"{name}-canary", metadata, route, canary, port, after)
    else:
        made = _http_route(name, metadata, route, backends, filters, port, opts)
    scheme = "https" if speaks_https(route) else "http"
    ready = pulumi.Output.from_input(made.urn).apply(lambda _: "")
    return pulumi.Output.concat(scheme, "://", route["host"], ready)


def speaks_https(route: Route) -> bool:
    """Whether clients use HTTPS."""
    return route["gateway"].get("https", True) if "gateway" in route else "tls_secret" in route


def _annotated(
    metadata: k8s.meta.v1.ObjectMetaArgs, annotations: Mapping[str, pulumi.Input[str]]
) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(
        name=metadata.name, namespace=metadata.namespace, labels=metadata.labels, annotations=dict(annotations) or None
    )


def _ingress(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    route: Route,
    backend: Backend,
    port: int,
    opts: pulumi.ResourceOptions,
) -> net.Ingress:
    service = net.IngressServiceBackendArgs(name=backend.service, port=net.ServiceBackendPortArgs(number=port))
    path = net.HTTPIngressPathArgs(path="/", path_type="Prefix", backend=net.IngressBackendArgs(service=service))
    rule = net.IngressRuleArgs(host=route["host"], http=net.HTTPIngressRuleValueArgs(paths=[path]))
    secret = route.get("tls_secret")
    return net.Ingress(
        name,
        metadata=_annotated(metadata, route.get("annotations", {})),
        spec=net.IngressSpecArgs(
            ingress_class_name=route["ingress_class"],
            rules=[rule],
            tls=None if secret is None else [net.IngressTLSArgs(hosts=[route["host"]], secret_name=secret)],
        ),
        opts=opts,
    )


def _canary_ingress(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    route: Route,
    backend: Backend,
    port: int,
    opts: pulumi.ResourceOptions,
) -> None:
    """ingress-nginx takes it for a part of the other Ingress with the same host and path."""
    weight = pulumi.Output.from_input(backend.weight).apply(str)
    prefix = "nginx.ingress.kubernetes.io"
    annotations = {**route.get("annotations", {}), f"{prefix}/canary": "true", f"{prefix}/canary-weight": weight}
    own: Route = {**route, "annotations": annotations}
    _ingress(name, _renamed(metadata, name), own, backend, port, opts)


def _renamed(metadata: k8s.meta.v1.ObjectMetaArgs, name: str) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=metadata.namespace, labels=metadata.labels)


def _http_route(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    route: Route,
    backends: Sequence[Backend],
    filters: Sequence[Mapping[str, Any]],
    port: int,
    opts: pulumi.ResourceOptions,
) -> k8s.apiextensions.CustomResource:
    """Waited for until a Gateway has accepted it: one that nobody takes would fail without a word."""
    parent: dict[str, Any] = {"name": name}
    if "gateway" in route:
        listener = route["gateway"]
        names = {"name": "name", "namespace": "namespace", "sectionName": "listener"}
        parent = {theirs: listener[ours] for theirs, ours in names.items() if ours in listener}  # type: ignore[literal-required]
    else:
        gateway = _gateway(name, metadata, route, opts)
        opts = merged(opts, depends_on=[gateway])
    waited = {"pulumi.com/waitFor": _ACCEPTED, **route.get("annotations", {})}
    refs = [{"name": backend.service, "port": port, "weight": backend.weight} for backend in backends]
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    return k8s.apiextensions.CustomResource(
        name,
        api_version=GATEWAY_API,
        kind="HTTPRoute",
        metadata=_annotated(metadata, waited),
        spec={
            "parentRefs": [parent],
            "hostnames": [route["host"]],
            "rules": [{"matches": [match], "backendRefs": refs, **({"filters": [*filters]} if filters else {})}],
        },
        opts=opts,
    )


def _gateway(
    name: str, metadata: k8s.meta.v1.ObjectMetaArgs, route: Route, opts: pulumi.ResourceOptions
) -> k8s.apiextensions.CustomResource:
    listener: dict[str, Any] = {"name": "http", "protocol": "HTTP", "port": 80, "hostname": route["host"]}
    if (secret := route.get("tls_secret")) is not None:
        tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
        listener = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": route["host"], "tls": tls}
    listener["allowedRoutes"] = {"namespaces": {"from": "Same"}}
    return k8s.apiextensions.CustomResource(
        f"{name}-gateway",
        api_version=GATEWAY_API,
        kind="Gateway",
        metadata=_annotated(metadata, {"pulumi.com/waitFor": "condition=Accepted"}),
        spec={"gatewayClassName": route["gateway_class"], "listeners": [listener]},
        opts=opts,
    )
