"""ModelService: one model version behind one address, replaced without a failed request."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops.core.component import arguments_in_one, child_options
from modelops.core.model_sources import parse
from modelops.core.naming import objects_name
from modelops.core.outputs import merged, register_declared_outputs, with_dependencies
from modelops.core.types import Expose
from modelops.kubernetes.access import service_account
from modelops.kubernetes.labels import selector, standard_labels
from modelops.kubernetes.network import (
    HTTPS_PORT,
    allow_egress,
    allow_ingress,
    allow_within,
    cluster_host,
    network_policy,
    service_url,
)
from modelops.kubernetes.pods import core
from modelops.kubernetes.runtime import runtime_volume
from modelops.kubernetes.volumes import volume_claim
from modelops.serving import flags, vllm
from modelops.serving.args import (
    DEFAULT_CACHE_SIZE,
    DEFAULT_ENGINE_CACHE_SIZE,
    DEFAULT_PORT,
    ModelServiceArgs,
    is_vllm,
    nodes,
)
from modelops.serving.checks import checked
from modelops.serving.needs import say_needs
from modelops.serving.pinning import pinned, references
from modelops.serving.pod import CHAT_PATH, GRPC_PORT, NAME, PORT, PREDICT_PATH
from modelops.serving.release.tracks import Release, deploy_standby, deploy_tracks
from modelops.serving.routing import make_route, make_service
from modelops.serving.serving_alias import move_serving_alias
from modelops.serving.track import Track


class ModelService(pulumi.ComponentResource):
    """Serves a model version over HTTP on every replica, behind one Service.

    A new version rolls out pod by pod: a pod takes requests only after it has made a known prediction correctly, and
    only then does an old one leave. A version that doesn't start, or fails its smoke test, fails the update within
    minutes while the old pods keep serving. To roll back, deploy an earlier version like any other.
    """

    url: pulumi.Output[str]
    """Address of the service, without a trailing slash."""
    predict_url: pulumi.Output[str]
    """Address for predictions: `POST {"inputs": [[0.5]]}`; with the `vllm` runtime, OpenAI's chat completions."""
    canary_status: pulumi.Output[Mapping[str, Any]] | None
    """State of the canary: verdict (`hold`, `promote`, `roll back`), reason, figures of both tracks, and the versions
    that the tracks serve. None without a canary."""

    @arguments_in_one
    def __init__(self, name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:ModelService", name, None, opts)
        args = flags.judged(self, name, pinned(self, name, args))
        say_needs(self, args)
        name = objects_name(name, opts)
        child_opts = child_options(self)
        metadata = k8s.meta.v1.ObjectMetaArgs(
            name=name, namespace=args["namespace"], labels=standard_labels(NAME, NAME, name)
        )
        account = service_account(name, metadata, child_opts, args)
        _network_policy(name, metadata, args, child_opts)
        runtime = _runtime(name, args, child_opts)
        base = Track(name, args, with_dependencies(name, account), _cache_claim(name, args, child_opts), runtime)
        release = deploy_tracks(base, child_opts)
        # After the pods: Pulumi waits for a Service's endpoints, and its pods may be waiting for a training.
        service_opts = merged(child_opts, depends_on=[*release.answering])
        service = make_service(name, metadata, args, release.selector, service_opts)
        # A version serves only once the address leads to it.
        after = [*release.answering, service]
        move_serving_alias(name, args, release.version, with_dependencies(name, account), runtime, after, child_opts)
        deploy_standby(base, service, child_opts)
        self.url = _url(name, metadata, args, service, release, child_opts)
        self.predict_url = pulumi.Output.concat(self.url, CHAT_PATH if is_vllm(args) else PREDICT_PATH)
        self.canary_status = release.canary_status
        register_declared_outputs(self)


def _url(
    name: str,
    metadata: "k8s.meta.v1.ObjectMetaArgs",
    args: ModelServiceArgs,
    service: "core.Service",
    release: Release,
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """The address that clients use: the route's if there is one, else the Service's."""
    if "route" in args:
        backends = release.backends(with_dependencies(name, service))
        return make_route(name, metadata, args, backends, opts, release.filters)
    return service_url(
        service,
        expose=Expose(args.get("expose", Expose.CLUSTER_IP)),
        port=args.get("port", DEFAULT_PORT),
        inside=cluster_host(name, args["namespace"]),
        host=args.get("host"),
        ready=release.answering,
    )


def _runtime(name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions) -> "core.VolumeArgs | None":
    """The volume with the programs that fetch the model and move the alias, unless neither is to run."""
    if "fetch_command" in args and "serving_alias" not in args:
        return None
    commands = (*vllm.COMMANDS, "hold", "promote") if is_vllm(args) else ("fetch", "hold", "promote")
    return runtime_volume(name, args["namespace"], standard_labels(NAME, NAME, name), commands, opts)


def _cache_claim(name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str] | None:
    if "cache" not in args:
        return None
    cache = args["cache"]
    return volume_claim(
        f"{name}-models",
        args["namespace"],
        standard_labels(NAME, NAME, name),
        cache.get("storage_size", DEFAULT_ENGINE_CACHE_SIZE if is_vllm(args) else DEFAULT_CACHE_SIZE),
        cache.get("storage_class"),
        opts,
        access_modes=cache.get("access_modes", ["ReadWriteMany"]),
    )


def _model_ports(args: ModelServiceArgs) -> list[pulumi.Input[int | str]]:
    """Where models come from. An output's form isn't known: with `tracking_uri`, that is taken for it."""
    known = [parse(uri) for uri in references(args).values() if isinstance(uri, str)]
    stores = {source.form for source in known if not (source.registered or source.mounted)}
    ports: list[pulumi.Input[int | str]] = []
    if "tracking_uri" in args:
        ports.append(args["tracking_uri"])
    if "model_endpoint_url" in args:
        ports.append(args["model_endpoint_url"])
        over_https = bool(stores - {"s3"})
    else:
        over_https = bool(stores) or "model_secret" in args or not ("tracking_uri" in args or known)
    if over_https or is_vllm(args):  # An adapter's base may be at Hugging Face.
        ports.append(HTTPS_PORT)
    return ports


def _network_policy(
    name: str, metadata: "k8s.meta.v1.ObjectMetaArgs", args: ModelServiceArgs, opts: pulumi.ResourceOptions
) -> None:
    """Pods of every track accept requests on their ports, and connect only to DNS, to where the model comes from and to
    where spans go."""
    ports = _model_ports(args)
    if "shadow" in args:  # The servers send it copies of the requests.
        ports.append(PORT)
    if "tracing" in args:
        ports.append(args["tracing"]["endpoint"])
    ingress, egress = [allow_ingress(PORT)], allow_egress(args, *ports)
    if "grpc_port" in args:
        ingress.append(allow_ingress(GRPC_PORT))
    if nodes(args) > 1:
        from_peers, to_peers = allow_within(k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)))
        ingress, egress = [*ingress, from_peers], egress.apply(lambda rules: [*rules, to_peers])
    network_policy(name, metadata, selector(NAME, name), opts, ingress=ingress, egress=egress)
