"""Argument types that several components share."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import pulumi


class Expose(Enum):
    """How a Service is reached."""

    LOAD_BALANCER = "LoadBalancer"
    """From outside the cluster, at an address that the cluster's load balancer gives."""
    CLUSTER_IP = "ClusterIP"
    """From inside the cluster only."""
    NODE_PORT = "NodePort"
    """From outside, at a high port of every node."""


if TYPE_CHECKING:
    AnyExpose = Expose | Literal["LoadBalancer", "ClusterIP", "NodePort"]
else:  # Pulumi's schema has the enum alone.
    AnyExpose = Expose


class Resources(TypedDict):
    """What a container asks for and may use. Quantities in Kubernetes' spelling."""

    cpu: NotRequired[pulumi.Input[str]]
    """CPU request, in cores (`2`) or thousandths (`500m`). Default: the component's."""
    cpu_limit: NotRequired[pulumi.Input[str]]
    """CPU limit, in cores. Default: none, so that spare CPU is used."""
    memory: NotRequired[pulumi.Input[str]]
    """Memory request, in bytes with a unit (`512Mi`). Default: the component's."""
    memory_limit: NotRequired[pulumi.Input[str]]
    """Memory limit. Default: the component's, or `memory` where only that is given."""
    gpus: NotRequired[pulumi.Input[int]]
    """GPUs, whole ones. Default 0; at least 0."""
    gpu_resource: NotRequired[str]
    """The name under which the cluster counts its GPUs (`amd.com/gpu`, `nvidia.com/mig-1g.10gb` …). Default
    `nvidia.com/gpu`."""
    devices: NotRequired[Mapping[str, int]]
    """Other devices by the cluster's name for them, such as `rdma/hca_shared_devices_a: 1`. Default: none."""
