"""The folders, addresses and ports of the embedded cluster's parts."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from devkit.paths import cache_root, state_root

REGISTRY_PORT = 5000
REGISTRY = f"localhost:{REGISTRY_PORT}"
MIRROR = "upstream"
"""Where the registry has substitutes for upstream images: below it, the upstream repository's path."""
BUILDER = "modelops"
NODE_NAME = "modelops"
CLUSTER_DOMAIN = "cluster.local"

# One small private range, away from those that other local clusters and container engines use by default.
BRIDGE = "modelops0"
BRIDGE_ADDRESS = "10.203.0.1"
POD_PREFIX_LENGTH = 20
POD_CIDR = f"10.203.0.0/{POD_PREFIX_LENGTH}"
SERVICE_CIDR = "10.203.128.0/18"
# With dual stack, one of IPv6 beside each: of the addresses that are for private use and never routed.
BRIDGE_ADDRESS_6 = "fdcb:203:0:1::1"
POD_PREFIX_LENGTH_6 = 64
POD_CIDR_6 = f"fdcb:203:0:1::/{POD_PREFIX_LENGTH_6}"
SERVICE_CIDR_6 = "fdcb:203:0:2::/112"
DUAL_STACK_VARIABLE = "MODELOPS_DUAL_STACK"
KUBERNETES_SERVICE = "10.203.128.1"
DNS_SERVICE = "10.203.128.10"

# Names that identify their owner, so that `stop` can tell the cluster's own from others.
CGROUP = "/modelops"
NETWORK_NAME = "modelops"
STORAGE_CLASS = "local-path"
PAUSE_IMAGE = "modelops.local/pause:1"

API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
METRICS_SERVER_PORT = 4443
DNS_PORT = 53
DNS_METRICS_PORT = 9153
DNS_READY_PORT = 8181
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Layout:
    """The folders of one embedded cluster. `state` is removed by `stop`, `cache` is kept."""

    state: Path = field(default_factory=state_root)
    cache: Path = field(default_factory=cache_root)

    @property
    def cluster(self) -> Path:
        """Everything that `stop` removes, except sockets."""
        return self.state / "cluster"

    @property
    def run(self) -> Path:
        """Sockets and other things that must not survive a reboot. Short: a Unix socket's path holds 107 bytes."""
        return Path("/run") / f"modelops-{hashlib.sha256(str(self.state).encode()).hexdigest()[:8]}"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.cluster / "logs"

    @property
    def pids(self) -> Path:
        """One record per running part."""
        return self.cluster / "pids"

    @property
    def pki(self) -> Path:
        """Keys, certificates and the kubeconfigs made from them."""
        return self.cluster / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration files."""
        return self.cluster / "config"

    @property
    def volumes(self) -> Path:
        """Data of dynamically provisioned volumes."""
        return self.cluster / "volumes"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root folder."""
        return self.cluster / "kubelet"

    @property
    def host_facts(self) -> Path:
        """The host's settings before the first start, so that `stop` can restore them."""
        return self.cluster / "host-before.json"

    @property
    def dual_stack_mark(self) -> Path:
        """Is there if the cluster was first started with IPv6 beside IPv4."""
        return self.cluster / "dual-stack"

    @property
    def dual_stack(self) -> bool:
        """Whether pods and Services have addresses of IPv6 too."""
        return self.dual_stack_mark.exists()

    @property
    def pod_ranges(self) -> tuple[str, ...]:
        """The addresses of pods, of each IP family."""
        return (POD_CIDR, POD_CIDR_6) if self.dual_stack else (POD_CIDR,)

    @property
    def service_ranges(self) -> tuple[str, ...]:
        """The addresses of Services, of each IP family."""
        return (SERVICE_CIDR, SERVICE_CIDR_6) if self.dual_stack else (SERVICE_CIDR,)

    @property
    def node_addresses(self) -> tuple[str, ...]:
        """The node's addresses, which the bridge has."""
        return (BRIDGE_ADDRESS, BRIDGE_ADDRESS_6) if self.dual_stack else (BRIDGE_ADDRESS,)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def buildx(self) -> Path:
        """What BUILDX_CONFIG names: the folder that describes the builder."""
        return self.state / "buildx"

    @property
    def packages(self) -> Path:
        """Extracted Debian packages."""
        return self.cache / "debs"

    @property
    def registry_data(self) -> Path:
        """The local registry's images."""
        return self.cache / "registry"

    @property
    def buildkit_data(self) -> Path:
        """BuildKit's layers and caches."""
        return self.cache / "buildkit"

    @property
    def kubectl_cache(self) -> Path:
        """kubectl's discovery cache, in place of the user's own folder."""
        return self.cluster / "kubectl-cache"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def buildkit_socket(self) -> Path:
        """Where buildkitd listens."""
        return self.run / "buildkitd.sock"

    def kubeconfig_of(self, name: str) -> Path:
        """The kubeconfig of one part."""
        return self.pki / f"{name}.kubeconfig"

    def log_of(self, name: str) -> Path:
        """The log file of one part."""
        return self.logs / f"{name}.log"
