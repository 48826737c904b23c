"""How clients reach a service: its Service and, with `route`, an Ingress or an HTTPRoute in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import merged, text_of, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.custom_objects import CustomObject
from modelops.kubernetes.network import core, http_service, net
from modelops.serving.args import DEFAULT_PORT, ModelServiceArgs, Route

GATEWAY_API = "gateway.networking.k8s.io/v1"
_ACCEPTED = 'jsonpath={.status.parents[*].conditions[?(@.type=="Accepted")].status}=True'


@dataclass(frozen=True)
class Backend:
    """A Service behind a route, and its share of the requests."""

    service: pulumi.Input[str]
    weight: pulumi.Input[int] = 100
    mark: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Annotations of the object that keeps the weight."""


def make_service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    selector: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> k8s.core.v1.Service:
    """The Service at the service's own address."""
    # Pulumi would wait for pods, and there may be none.
    skip = {"pulumi.com/skipAwait": "true"} if "scale_to_zero" in args.get("autoscaling", {}) else {}
    port, expose = args.get("port", DEFAULT_PORT), args.get("expose", Expose.CLUSTER_IP)
    return http_service(name, _metadata(name, metadata, skip), selector, port, args, opts, expose, grpc_ports(args))


def grpc_ports(args: ModelServiceArgs) -> list[core.ServicePortArgs]:
    """The port of a Service for gRPC, if there is one: HTTP/2 without TLS, which gateways must be told."""
    if "grpc_port" not in args:
        return []
    return [
        core.ServicePortArgs(name="grpc", port=args["grpc_port"], target_port="grpc", app_protocol="kubernetes.io/h2c")
    ]


def make_route(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    backends: Sequence[Backend],
    opts: pulumi.ResourceOptions,
    filters: Sequence[Mapping[str, Any]] = (),
) -> pulumi.Output[str]:
    """Creates the Ingress or HTTPRoute of `args["route"]`. Returns the address that clients use."""
    route, port = args["route"], args.get("port", DEFAULT_PORT)
    front: pulumi.Resource
    if "ingress_class" in route:
        front = _ingress(name, metadata, route, backends[0], port, opts)
        for canary in backends[1:]:
            canary_route, canary_opts = _canary_route(route, canary), merged(opts, depends_on=[front])
            _ingress(f"{name}-canary", metadata, canary_route, canary, port, canary_opts)
    else:
        front = _http_route(name, metadata, route, backends, filters, port, opts)
    https = route["gateway"].get("https", True) if "gateway" in route else "tls_secret" in route
    scheme = pulumi.Output.from_input(https).apply(lambda encrypted: "https://" if encrypted else "http://")
    return with_dependencies(pulumi.Output.concat(scheme, route["host"]), front)


def _metadata(
    name: str, metadata: k8s.meta.v1.ObjectMetaArgs, annotations: Mapping[str, pulumi.Input[str]]
) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(
        name=name, namespace=metadata.namespace, labels=metadata.labels, annotations=dict(annotations) or None
    )


def _ingress(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    route: Route,
    backend: Backend,
    port: pulumi.Input[int],
    opts: pulumi.ResourceOptions,
) -> net.Ingress:
    service = net.IngressServiceBackendArgs(name=backend.service, port=net.ServiceBackendPortArgs(number=port))
    path = net.HTTPIngressPathArgs(path="/", path_type="Prefix", backend=net.IngressBackendArgs(service=service))
    rule = net.IngressRuleArgs(host=route["host"], http=net.HTTPIngressRuleValueArgs(paths=[path]))
    secret = route.get("tls_secret")
    return net.Ingress(
        name,
        metadata=_metadata(name, metadata, route.get("annotations", {})),
        spec=net.IngressSpecArgs(
            ingress_class_name=route["ingress_class"],
            rules=[rule],
            tls=None if secret is None else [net.IngressTLSArgs(hosts=[route["host"]], secret_name=secret)],
        ),
        opts=opts,
    )


def _canary_route(route: Route, canary: Backend) -> Route:
    """A route whose Ingress ingress-nginx merges into the one with the same host and path."""
    weight = text_of(canary.weight)
    prefix = "nginx.ingress.kubernetes.io"
    annotations = {**route.get("annotations", {}), f"{prefix}/canary": "true", f"{prefix}/canary-weight": weight}
    annotations |= canary.mark
    return {**route, "annotations": annotations}


def _http_route(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    route: Route,
    backends: Sequence[Backend],
    filters: Sequence[Mapping[str, Any]],
    port: pulumi.Input[int],
    opts: pulumi.ResourceOptions,
) -> CustomObject:
    """Waits until a Gateway accepts the route: one that none accepts would fail silently."""
    parent: dict[str, Any] = {"name": name}
    if "gateway" in route:
        gateway = route["gateway"]
        fields = {"namespace": gateway.get("namespace"), "sectionName": gateway.get("listener")}
        parent = {"name": gateway["name"], **{key: value for key, value in fields.items() if value is not None}}
    else:
        opts = merged(opts, depends_on=[_gateway(name, metadata, route, opts)])
    annotations = {"pulumi.com/waitFor": _ACCEPTED, **route.get("annotations", {})}
    for backend in backends:
        annotations |= backend.mark
    refs = [{"name": backend.service, "port": port, "weight": backend.weight} for backend in backends]
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    return CustomObject(
        name,
        api_version=GATEWAY_API,
        kind="HTTPRoute",
        metadata=_metadata(name, metadata, annotations),
        spec={
            "parentRefs": [parent],
            "hostnames": [route["host"]],
            "rules": [{"matches": [match], "backendRefs": refs, **({"filters": [*filters]} if filters else {})}],
        },
        opts=opts,
    )


def _gateway(
    name: str, metadata: k8s.meta.v1.ObjectMetaArgs, route: Route, opts: pulumi.ResourceOptions
) -> CustomObject:
    listener: dict[str, Any] = {"name": "http", "protocol": "HTTP", "port": 80, "hostname": route["host"]}
    if (secret := route.get("tls_secret")) is not None:
        tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
        listener = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": route["host"], "tls": tls}
    listener["allowedRoutes"] = {"namespaces": {"from": "Same"}}
    return CustomObject(
        f"{name}-gateway",
        api_version=GATEWAY_API,
        kind="Gateway",
        metadata=_metadata(name, metadata, {"pulumi.com/waitFor": "condition=Accepted"}),
        spec={"gatewayClassName": route["gateway_class"], "listeners": [listener]},
        opts=opts,
    )
