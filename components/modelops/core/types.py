"""Argument types shared by several components."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

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
