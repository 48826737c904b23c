"""Addresses of Services, and network policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.outputs import whole, with_dependencies
from modelops.core.types import AnyExpose, Expose
from modelops.kubernetes.placement import with_service_metadata

core = k8s.core.v1
net = k8s.networking.v1

DNS_PORTS = (53, 5353)
"""On the second one OpenShift's DNS servers listen."""
API_SERVER_PORTS = (443, 6443, 6444, 8443, 16443)
"""The usual ones of an API server itself, those of k3s and MicroK8s among them."""
HTTPS_PORT = 443
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The API server gives it to every namespace."""
METADATA_PORTS = (80, 988)
"""Of the addresses at which nodes of AWS, Azure and Google's cloud give out tokens."""


def ip_families(args: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Service's spec that say its IP families; none unless the component's `args` do."""
    network = args.get("network") or {}
    return {field: network[field] for field in ("ip_families", "ip_family_policy") if field in network}


def every_address(args: Mapping[str, Any]) -> str:
    """The address at which a server listens to every one of the pod's."""
    return "::" if "IPv6" in ip_families(args).get("ip_families", ()) else "0.0.0.0"


def url_host(host: str) -> str:
    """A host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def cluster_host(name: str, namespace: pulumi.Input[str]) -> pulumi.Output[str]:
    """The DNS name of a Service inside the cluster, without the cluster's domain."""
    return pulumi.Output.concat(name, ".", namespace, ".svc")


def cluster_domain(args: Mapping[str, Any]) -> pulumi.Input[str]:
    """The cluster's DNS domain, from the component's `args`."""
    domain: pulumi.Input[str] = (args.get("network") or {}).get("cluster_domain", "cluster.local")
    return domain


def service_names(name: str, namespace: str, domain: str) -> list[str]:
    """The names by which clients in any namespace know a Service, in a cluster of that DNS domain."""
    return [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.{domain}"]


def http_service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    pods: pulumi.Input[Mapping[str, pulumi.Input[str]]],
    port: pulumi.Input[int],
    args: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    expose: AnyExpose | None = None,
    more_ports: Sequence[core.ServicePortArgs] = (),
) -> core.Service:
    """A Service whose port leads to the port `http` of the pods that the labels in `pods` select.

    The component's `args` may have further labels and annotations for it.
    """
    ports = [core.ServicePortArgs(name="http", port=port, target_port="http"), *more_ports]
    kind = None if expose is None else Expose(expose).value
    metadata = with_service_metadata(metadata, args)
    spec = core.ServiceSpecArgs(type=kind, selector=pods, ports=ports, **ip_families(args))
    return core.Service(name, metadata=metadata, spec=spec, opts=opts)


def service_url(
    service: k8s.core.v1.Service,
    *,
    expose: Expose,
    port: pulumi.Input[int],
    inside: pulumi.Input[str],
    host: pulumi.Input[str] | None,
    ready: Sequence[pulumi.Resource],
    scheme: str = "http",
) -> pulumi.Output[str]:
    """The URL at which clients reach the Service, known in a plan where possible.

    `host` is the name that clients use. Without one it is the load balancer's address, `localhost` for node ports, and
    `inside` (the DNS name in the cluster) otherwise.
    """
    if expose is Expose.NODE_PORT:
        host = pulumi.Output.from_input(host or "localhost").apply(url_host)
        address = pulumi.Output.concat(host, ":", _node_port(service))
    else:
        if host is None:
            host = _load_balancer_host(service) if expose is Expose.LOAD_BALANCER else inside
        host = pulumi.Output.from_input(host).apply(url_host)
        address = pulumi.Output.concat(host, whole(port).apply(lambda number: "" if number == 80 else f":{number}"))
    return with_dependencies(pulumi.Output.concat(f"{scheme}://", address), service, *ready)


def _load_balancer_host(service: k8s.core.v1.Service) -> pulumi.Output[str]:
    def address(status: Any) -> str:
        entries = (((status or {}).get("load_balancer") or {}).get("ingress")) or []
        if not entries:
            return "pending"
        return str(entries[0].get("ip") or entries[0].get("hostname"))

    return service.status.apply(address)


def _node_port(service: k8s.core.v1.Service) -> pulumi.Output[str]:
    return service.spec.apply(lambda spec: str(spec["ports"][0].get("node_port") or "pending"))


def port_of(url: str) -> int:
    """The TCP port of a URL, the scheme's default unless it names one."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def network_policy(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    pods: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
    *,
    ingress: Sequence[net.NetworkPolicyIngressRuleArgs] = (),
    egress: pulumi.Input[Sequence[net.NetworkPolicyEgressRuleArgs]] | None = None,
) -> net.NetworkPolicy:
    """The connections that the pods with these labels accept and open; they may open any if `egress` is None."""
    return net.NetworkPolicy(
        name,
        metadata=metadata,
        spec=net.NetworkPolicySpecArgs(
            pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=pods),
            policy_types=["Ingress"] if egress is None else ["Ingress", "Egress"],
            ingress=list(ingress) or None,
            egress=egress,
        ),
        opts=opts,
    )


def allow_ingress(
    port: pulumi.Input[int | str], peers: Sequence[net.NetworkPolicyPeerArgs] | None = None
) -> net.NetworkPolicyIngressRuleArgs:
    """Traffic to one port, from anywhere or only from `peers`."""
    return net.NetworkPolicyIngressRuleArgs(
        from_=None if peers is None else list(peers),
        ports=[net.NetworkPolicyPortArgs(port=port, protocol="TCP")],
    )


def pods_in(namespace: pulumi.Input[str], pods: k8s.meta.v1.LabelSelectorArgs) -> net.NetworkPolicyPeerArgs:
    """The selected pods of another namespace."""
    labels: dict[str, pulumi.Input[str]] = {NAMESPACE_LABEL: namespace}
    return net.NetworkPolicyPeerArgs(
        namespace_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels), pod_selector=pods
    )


def allow_egress(
    args: Mapping[str, Any], *targets: pulumi.Input[int | str]
) -> pulumi.Output[list[net.NetworkPolicyEgressRuleArgs]]:
    """Traffic to the targets, and DNS lookups. A target is a TCP port, anywhere, or the URL of a server.

    A policy is judged after a Service's address has become a pod's, whose port may be another one. So from a URL in the
    cluster come the pods of its namespace. With a role of the cloud, pods get its tokens too.
    """
    network = args.get("network") or {}
    further = [*targets, *network.get("egress_ports", ())]
    if args.get("service_account_annotations"):
        further += [*METADATA_PORTS, HTTPS_PORT]
    return pulumi.Output.all(network.get("dns_ports", DNS_PORTS), further).apply(lambda values: _egress(*values))


def _egress(dns_ports: Sequence[float], targets: Sequence[float | str]) -> list[net.NetworkPolicyEgressRuleArgs]:
    urls = [target for target in targets if isinstance(target, str)]
    ports = [port_of(target) if isinstance(target, str) else int(target) for target in targets]
    rules = [
        net.NetworkPolicyEgressRuleArgs(
            ports=[
                *(
                    net.NetworkPolicyPortArgs(port=int(port), protocol=protocol)
                    for port in dns_ports
                    for protocol in ("UDP", "TCP")
                ),
                *(net.NetworkPolicyPortArgs(port=port, protocol="TCP") for port in dict.fromkeys(ports)),
            ]
        )
    ]
    namespaces = dict.fromkeys(namespace for url in urls if (namespace := _namespace_of(url)) is not None)
    peers = [_pods_of(namespace) for namespace in namespaces]
    return [*rules, net.NetworkPolicyEgressRuleArgs(to=peers)] if peers else rules


def _namespace_of(url: str) -> str | None:
    """The namespace of a URL's Service; empty for that of the pods themselves, None for a host outside the cluster."""
    name, *domains = (urlsplit(url).hostname or "").split(".")
    if not domains:
        return "" if name and ":" not in name else None
    return domains[0] if domains[1:2] == ["svc"] else None


def _pods_of(namespace: str) -> net.NetworkPolicyPeerArgs:
    selector = k8s.meta.v1.LabelSelectorArgs
    if not namespace:
        return net.NetworkPolicyPeerArgs(pod_selector=selector())
    labels = {NAMESPACE_LABEL: namespace}
    return net.NetworkPolicyPeerArgs(namespace_selector=selector(match_labels=labels))


def api_server_ports(args: Mapping[str, Any]) -> Sequence[pulumi.Input[int]]:
    """The ports of the API server itself: a network policy doesn't see that of its Service."""
    ports: Sequence[pulumi.Input[int]] = (args.get("network") or {}).get("api_server_ports", API_SERVER_PORTS)
    return ports


def allow_within(
    pods: k8s.meta.v1.LabelSelectorArgs,
) -> tuple[net.NetworkPolicyIngressRuleArgs, net.NetworkPolicyEgressRuleArgs]:
    """Traffic between the selected pods, on every port."""
    peer = net.NetworkPolicyPeerArgs(pod_selector=pods)
    return net.NetworkPolicyIngressRuleArgs(from_=[peer]), net.NetworkPolicyEgressRuleArgs(to=[peer])
