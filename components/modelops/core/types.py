"""Argument types shared by several components."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import pulumi


class Expose(Enum):
    """How a Service is exposed."""

    LOAD_BALANCER = "LoadBalancer"
    """Outside the cluster, at an address that the cluster's load balancer assigns."""
    CLUSTER_IP = "ClusterIP"
    """Inside the cluster only."""
    NODE_PORT = "NodePort"
    """Outside the cluster, at a high port on every node."""


if TYPE_CHECKING:
    AnyExpose = Expose | Literal["LoadBalancer", "ClusterIP", "NodePort"]
else:  # Pulumi's schema has the enum alone.
    AnyExpose = Expose


class Resources(TypedDict):
    """Requests and limits of a container, as Kubernetes quantities."""

    cpu: NotRequired[pulumi.Input[str]]
    """CPU request, in cores (`2`) or millicores (`500m`). Default: the component's."""
    cpu_limit: NotRequired[pulumi.Input[str]]
    """CPU limit, in cores. Default: none, so that the container can use spare CPU."""
    memory: NotRequired[pulumi.Input[str]]
    """Memory request, in bytes with a unit (`512Mi`). Default: the component's."""
    memory_limit: NotRequired[pulumi.Input[str]]
    """Memory limit. Default: the component's, or `memory` if only that is given."""
    gpus: NotRequired[pulumi.Input[int]]
    """Number of GPUs. Default 0; at least 0."""
    gpu_resource: NotRequired[str]
    """Resource name of the GPUs (`amd.com/gpu`, `nvidia.com/mig-1g.10gb` …). Default `nvidia.com/gpu`."""
    devices: NotRequired[Mapping[str, pulumi.Input[int]]]
    """Other devices by resource name, such as `rdma/hca_shared_devices_a: 1`. Default: none."""


class Toleration(TypedDict):
    """A node taint that the pods tolerate."""

    key: NotRequired[pulumi.Input[str]]
    """The taint's key. Default: every taint."""
    operator: NotRequired[pulumi.Input[str]]
    """`Equal` or `Exists`. Default `Equal`."""
    value: NotRequired[pulumi.Input[str]]
    """The taint's value, with `Equal`. Default: none."""
    effect: NotRequired[pulumi.Input[str]]
    """`NoSchedule`, `PreferNoSchedule` or `NoExecute`. Default: each of them."""
    toleration_seconds: NotRequired[pulumi.Input[int]]
    """How long a pod stays on a node that gets a `NoExecute` taint, in seconds. Default: forever."""


class TopologySpread(TypedDict):
    """How evenly the pods of a workload are spread over the nodes' zones, racks or hosts."""

    topology_key: str
    """Label of the nodes that says where they are, such as `topology.kubernetes.io/zone`."""
    max_skew: NotRequired[pulumi.Input[int]]
    """How many pods more than another place may have. Default 1; at least 1."""
    when_unsatisfiable: NotRequired[pulumi.Input[str]]
    """What becomes of a pod that would break this: `ScheduleAnyway` or `DoNotSchedule`. Default `ScheduleAnyway`."""


class ClusterNetwork(TypedDict):
    """The cluster's network: its IP families, and what network policies must know of it. They see ports of pods and
    servers, not those of Services."""

    dns_ports: NotRequired[Sequence[pulumi.Input[int]]]
    """Ports on which the cluster's DNS servers listen. Default 53 and 5353, OpenShift's."""
    api_server_ports: NotRequired[Sequence[pulumi.Input[int]]]
    """Ports on which the API server itself listens. Default 443, 6443, 6444 (k3s), 8443 and 16443 (MicroK8s)."""
    egress_ports: NotRequired[Sequence[pulumi.Input[int]]]
    """Further ports that the pods may connect to, such as a proxy's. Default: none."""
    ip_families: NotRequired[Sequence[str]]
    """IP families of the Services, `IPv4` and `IPv6`, the first one first. Default: the cluster's first one. With
    `IPv6`, servers that would listen to IPv4 alone listen to both."""
    ip_family_policy: NotRequired[pulumi.Input[str]]
    """`SingleStack`, `PreferDualStack` or `RequireDualStack`. Default: Kubernetes', which is `SingleStack`."""
    cluster_domain: NotRequired[pulumi.Input[str]]
    """The cluster's DNS domain, for clients that use a Service's full name: certificates are for it, MLflow accepts it.
    The library's own addresses do without. Default `cluster.local`."""


class PodArgs(TypedDict):
    """What the components that make pods take alike, to fit a cluster. It holds for every pod of the component."""

    node_selector: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[str]]]]
    """Labels that nodes must have. Default: any node."""
    tolerations: NotRequired[pulumi.Input[Sequence[pulumi.Input[Toleration]]]]
    """Taints that the pods tolerate. Default: none."""
    affinity: NotRequired[pulumi.Input[Mapping[str, pulumi.Input[Any]]]]
    """Affinity of the pods, in Kubernetes' own spelling (`nodeAffinity`, `podAntiAffinity` …). Default: none."""
    topology_spread: NotRequired[Sequence[TopologySpread]]
    """How evenly the pods are spread. Default: the component's own."""
    priority_class: NotRequired[pulumi.Input[str]]
    """PriorityClass of the pods. Default: the cluster's."""
    runtime_class: NotRequired[pulumi.Input[str]]
    """RuntimeClass of the pods, such as `gvisor`. If the component asks for GPUs or other devices, of the pods that use
    them (`nvidia`), as other nodes may not have it. Default: the cluster's."""
    pod_labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further labels of the pods. Default: none."""
    pod_annotations: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further annotations of the pods. Default: none."""
    service_account_annotations: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Annotations of the pods' ServiceAccounts, which give them a role of the cloud (`eks.amazonaws.com/role-arn`,
    `iam.gke.io/gcp-service-account`, `azure.workload.identity/client-id`). Network policies then let them get its
    tokens. Default: none."""
    environment: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further environment variables of all containers, such as `HTTPS_PROXY` and `NO_PROXY`. Where a container sets one
    of that name itself, that counts. Default: none."""
    ca_config_map: NotRequired[pulumi.Input[str]]
    """Name of a ConfigMap in the namespace whose entry `ca.crt` has all CA certificates (PEM) that the containers
    trust, public ones included. OpenSSL, Python, the AWS SDKs and Node.js read it; Java does not. Default: the images'
    own."""
    image_pull_secret: NotRequired[pulumi.Input[str]]
    """Name of a Secret in the namespace with credentials for the images' registry. Default: none."""
    assigned_user: NotRequired[bool]
    """Whether the cluster assigns the pods' users and groups, as OpenShift does from each namespace's range. Default
    false: they are the images'."""
    network: NotRequired[ClusterNetwork]
    """The cluster's network. Default: as usual clusters have it."""


class HelperArgs(TypedDict):
    """What the components take whose pods have containers of the library's own beside the main ones."""

    helper_resources: NotRequired[Resources]
    """Resources of each container that only helps: those that fetch, check, publish, export metrics, watch and so on. A
    cluster with a quota on CPU limits needs its `cpu_limit`. Default: little, as each needs, without a CPU limit."""


class ServiceMetadataArgs(TypedDict):
    """What the components take that clients reach by a Service."""

    service_labels: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further labels of the Services that `expose` is about. Default: none."""
    service_annotations: NotRequired[Mapping[str, pulumi.Input[str]]]
    """Further annotations of these Services, such as those that make a load balancer an internal one. Default: none."""


SHARED = (PodArgs, HelperArgs, ServiceMetadataArgs)
"""What the arguments of components extend. Before Python 3.12 a TypedDict doesn't know its bases."""
