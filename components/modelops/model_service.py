"""ModelService: one model version behind one address, replaced without a failed request."""

import pulumi
import pulumi_kubernetes as k8s

from modelops._labels import labels, selector
from modelops._network import allow_egress, allow_ingress, cluster_host, net, port_of, service_url
from modelops._outputs import known_after
from modelops._pods import core
from modelops._service_args import DEFAULT_PORT, Autoscaling, ModelServiceArgs
from modelops._service_checks import checked
from modelops._service_pod import NAME, PORT, live_selector
from modelops._service_track import Track, deploy
from modelops._serving_alias import mark_serving
from modelops._types import Expose

__all__ = ["Autoscaling", "ModelService", "ModelServiceArgs"]

PREDICT_PATH = "/api/predict"


class ModelService(pulumi.ComponentResource):
    """Serves a model version over HTTP on every replica, behind one Service.

    A new version rolls out pod by pod: a pod takes requests only after it answered a known prediction correctly, and
    an old one leaves only after that. A version that doesn't start fails the update within minutes while the old
    pods keep serving.
    """

    url: pulumi.Output[str]
    """Address of the service, without a trailing slash."""
    predict_url: pulumi.Output[str]
    """Address that answers predictions: `POST {"inputs": [[0.5]]}`."""

    def __init__(self, name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        args = checked(name, args)
        super().__init__("modelops:index:ModelService", name, None, opts)
        here = pulumi.ResourceOptions(parent=self)
        metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args["namespace"], labels=labels(NAME, NAME, name))
        account = core.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=here)
        net.NetworkPolicy(name, metadata=metadata, spec=_network_rules(name, args), opts=here)
        deployment = deploy(Track(name, args), known_after(name, account), here)
        mark_serving(name, args, known_after(name, account), [deployment], here)
        service = _service(name, metadata, args, here, deployment)
        expose, port = args.get("expose", Expose.CLUSTER_IP), args.get("port", DEFAULT_PORT)
        inside = cluster_host(name, args["namespace"])
        self.url = service_url(
            service, expose=expose, port=port, inside=inside, host=args.get("host"), ready=[deployment]
        )
        self.predict_url = pulumi.Output.concat(self.url, PREDICT_PATH)
        self.register_outputs({"url": self.url, "predict_url": self.predict_url})


def _network_rules(name: str, args: ModelServiceArgs) -> net.NetworkPolicySpecArgs:
    """Requests come in on one port; pods of every track go out for names and for the model, nothing else."""
    registry_port = pulumi.Output.from_input(args["tracking_uri"]).apply(port_of)
    return net.NetworkPolicySpecArgs(
        pod_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=selector(NAME, name)),
        policy_types=["Ingress", "Egress"],
        ingress=[allow_ingress(PORT)],
        egress=[allow_egress(registry_port)],
    )


def _service(
    name: str,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    args: ModelServiceArgs,
    opts: pulumi.ResourceOptions,
    deployment: k8s.apps.v1.Deployment,
) -> k8s.core.v1.Service:
    """After the Deployment: Pulumi waits until pods answer behind a Service, and those may wait for a training."""
    return core.Service(
        name,
        metadata=metadata,
        spec=core.ServiceSpecArgs(
            type=args.get("expose", Expose.CLUSTER_IP).value,
            selector=live_selector(name),
            ports=[core.ServicePortArgs(name="http", port=args.get("port", DEFAULT_PORT), target_port="http")],
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[deployment])),
    )
