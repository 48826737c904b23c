"""Configuration files of the parts, as text. Nothing here changes the host."""

import base64
import json
from pathlib import Path

from devkit.embedded import layout as at
from devkit.embedded.layout import Layout


def kubeconfig(layout: Layout, user: str, server: str) -> str:
    """A kubeconfig with everything inside it, for the certificate `user`."""
    entry = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "modelops-embedded",
        "clusters": [
            {
                "name": "modelops-embedded",
                "cluster": {"server": server, "certificate-authority-data": _inline(layout.pki / "ca.crt")},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _inline(layout.pki / f"{user}.crt"),
                    "client-key-data": _inline(layout.pki / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": "modelops-embedded", "context": {"cluster": "modelops-embedded", "user": user}}],
    }
    return json.dumps(entry, indent=1) + "\n"


def secrets_encryption(key: str) -> str:
    """Has the API server encrypt Secrets before they reach etcd. `key`: 32 bytes in base64."""
    secretbox = {"secretbox": {"keys": [{"name": "key1", "secret": key}]}}
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": [secretbox, {"identity": {}}]}],
        }
    )


def kubelet(layout: Layout, resolver: str) -> str:
    """The kubelet's configuration; `resolver` is the resolv.conf for pods that use the host's DNS."""
    pki = layout.pki
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": at.BRIDGE_ADDRESS,
        "port": at.KUBELET_PORT,
        "readOnlyPort": 0,
        "healthzBindAddress": at.LOOPBACK,
        "healthzPort": at.KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": at.CGROUP,
        "failCgroupV1": False,
        # Lowering the score needs CAP_SYS_RESOURCE, which a container or sandbox may lack.
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "clusterDomain": at.CLUSTER_DOMAIN,
        # CoreDNS itself, not its Service: name resolution then needs no packet filter rule.
        "clusterDNS": [at.BRIDGE_ADDRESS],
        "resolvConf": resolver,
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        # Amounts, not shares: a tenth of a large disk is plenty, a tenth of a small one is not.
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1Gi",
            "imagefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
        },
        "evictionPressureTransitionPeriod": "30s",
        "imageGCHighThresholdPercent": 100,
        "containerLogMaxSize": "5Mi",
        "containerLogMaxFiles": 2,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 2,
        "registryPullQPS": 0,
        "logging": {"verbosity": 1},
    }
    return json.dumps(config, indent=1)


def kube_proxy(layout: Layout) -> str:
    """kube-proxy's configuration: iptables, NodePorts on loopback and the bridge only, no kernel limits touched."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": ",".join(layout.pod_ranges),
        "hostnameOverride": at.NODE_NAME,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig_of("kube-proxy"))},
        "bindAddress": at.BRIDGE_ADDRESS,
        "healthzBindAddress": f"{at.LOOPBACK}:{at.PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"{at.LOOPBACK}:{at.PROXY_METRICS_PORT}",
        "nodePortAddresses": [
            "127.0.0.0/8",
            *(f"{address}/{128 if ':' in address else 32}" for address in layout.node_addresses),
        ],
        "oomScoreAdj": 0,
        "iptables": {"localhostNodePorts": True, "minSyncPeriod": "0s", "syncPeriod": "30s"},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    return json.dumps(config, indent=1)


def containerd(layout: Layout, runc: Path, network_plugins: Path) -> str:
    """containerd's configuration; everything that it would put outside our folders is disabled or moved."""
    return f"""\
version = 3
root = "{layout.cluster}/containerd"
state = "{layout.run}/containerd"
oom_score = 0
imports = []
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{layout.containerd_socket}"

[ttrpc]
address = "{layout.containerd_socket}.ttrpc"

[plugins."io.containerd.shim.v1.manager"]
socket_dir = "{layout.run}/s"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{at.PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{layout.config}/registries"

[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE runc may not lower the score; with it this setting doesn't matter here.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
cdi_spec_dirs = []

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{network_plugins}"]
conf_dir = "{layout.config}/network"
use_internal_loopback = true

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
Root = "{layout.run}/runc"
SystemdCgroup = false
"""


def registry_hosts(address: str) -> str:
    """containerd's hosts.toml: plain HTTP for the local registry."""
    return f'server = "http://{address}"\n\n[host."http://{address}"]\ncapabilities = ["pull", "resolve", "push"]\n'


def mirror_hosts(address: str, prefix: str) -> str:
    """containerd's hosts.toml for every other registry: what the local one has below `prefix` is taken from there."""
    host = f"http://{address}/v2/{prefix}"
    return f'[host."{host}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'


def network(layout: Layout, mtu: int) -> str:
    """The pod network: one bridge, addresses from one range, host ports. Masquerading is firewall.py's."""
    bridge = {
        "type": "bridge",
        "bridge": at.BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{layout.run}/addresses",
            "ranges": [
                [{"subnet": subnet, "gateway": gateway}]
                for subnet, gateway in zip(layout.pod_ranges, layout.node_addresses, strict=True)
            ],
            "routes": [{"dst": "::/0" if ":" in gateway else "0.0.0.0/0"} for gateway in layout.node_addresses],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return json.dumps({"cniVersion": "1.0.0", "name": at.NETWORK_NAME, "plugins": [bridge, portmap]}, indent=1)


def corefile(layout: Layout, resolver: str | None) -> str:
    """CoreDNS: the cluster's names itself, everything else from the host's resolvers (none: only the cluster's)."""
    forward = f"    forward . {resolver}\n" if resolver else ""
    return f"""\
.:{at.DNS_PORT} {{
    bind {at.BRIDGE_ADDRESS}
    errors
    ready {at.LOOPBACK}:{at.DNS_READY_PORT}
    prometheus {at.BRIDGE_ADDRESS}:{at.DNS_METRICS_PORT}
    kubernetes {at.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.kubeconfig_of("coredns")}
        pods insecure
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}    cache 30 {{
        disable success {at.CLUSTER_DOMAIN}
        disable denial {at.CLUSTER_DOMAIN}
    }}
}}
"""


def registry(layout: Layout) -> str:
    """The local image registry: loopback only, data in the cache."""
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(layout.registry_data)}, "delete": {"enabled": True}},
        "http": {"addr": f"{at.LOOPBACK}:{at.REGISTRY_PORT}"},
    }
    return json.dumps(config, indent=1)


def buildkit_runc(layout: Layout, runc: Path) -> str:
    """The runtime that BuildKit calls: runc with its state in our folder, which BuildKit has no setting for."""
    return f'#!/bin/sh\nexec {runc} --root {layout.run}/runc-build "$@"\n'


def buildkit(layout: Layout, runc: Path, keep_gibibytes: int) -> str:
    """BuildKit: runc worker, overlayfs, host network, at most `keep_gibibytes` of cache and never a full disk."""
    hosts = "".join(f'\n[registry."{host}:{at.REGISTRY_PORT}"]\nhttp = true\n' for host in ("localhost", at.LOOPBACK))
    return f"""\
root = "{layout.buildkit_data}"

[grpc]
address = ["unix://{layout.buildkit_socket}"]

[otel]
socketPath = "{layout.run}/buildkit-otel.sock"

[cdi]
disabled = true

[worker.containerd]
enabled = false

[worker.oci]
enabled = true
snapshotter = "overlayfs"
binary = "{runc}"
networkMode = "host"
defaultCgroupParent = "{at.CGROUP}"
gc = true
reservedSpace = "2GB"
maxUsedSpace = "{keep_gibibytes}GB"
minFreeSpace = "3GB"
{hosts}"""


def builder(layout: Layout) -> str:
    """The file that describes the builder to buildx, and so to the docker-build provider."""
    node = {
        "Name": f"{at.BUILDER}0",
        "Endpoint": f"unix://{layout.buildkit_socket}",
        "Platforms": None,
        "DriverOpts": None,
        "Flags": None,
        "Files": None,
    }
    return json.dumps({"Name": at.BUILDER, "Driver": "remote", "Nodes": [node], "Dynamic": False})


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
