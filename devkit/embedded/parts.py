"""The long-running parts: how each is started, what it listens on and how its readiness is checked."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devkit.embedded import layout as at
from devkit.embedded import packages, pki, probes
from devkit.embedded.layout import Layout
from devkit.embedded.ports import Port
from devkit.embedded.processes import AGENT
from devkit.errors import DevkitError
from devkit.paths import REPOSITORY

# Go names etcd's server after its module; a build may have renamed it to its usual name.
ALIASES = {"etcd": ("etcd", "server", "v3")}
NO_PROXY = (
    "localhost",
    "127.0.0.0/8",
    at.POD_CIDR,
    at.SERVICE_CIDR,
    at.POD_CIDR_6,
    at.SERVICE_CIDR_6,
    ".svc",
    f".{at.CLUSTER_DOMAIN}",
)

# Started in this order, those of one row in parallel.
STAGES = (
    ("etcd", "containerd", "registry", "buildkitd"),
    ("kube-apiserver",),
    ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "metrics-server", "agent", "kubelet"),
)
PART_NAMES = tuple(name for stage in STAGES for name in stage)

_LOOPBACK_PORTS = {
    "etcd": (at.ETCD_PORT, at.ETCD_PEER_PORT),
    "registry": (at.REGISTRY_PORT,),
    "kube-apiserver": (at.API_PORT,),  # by way of a packet filter rule
    "kube-controller-manager": (at.CONTROLLER_MANAGER_PORT,),
    "kube-scheduler": (at.SCHEDULER_PORT,),
    "kube-proxy": (at.PROXY_HEALTH_PORT, at.PROXY_METRICS_PORT),
    "coredns": (at.DNS_READY_PORT,),
    "kubelet": (at.KUBELET_HEALTH_PORT,),
}
_BRIDGE_PORTS = {
    "kube-apiserver": (at.API_PORT,),
    "coredns": (at.DNS_PORT, at.DNS_METRICS_PORT),
    "metrics-server": (at.METRICS_SERVER_PORT,),
    "kubelet": (at.KUBELET_PORT,),
}


def ports_of(name: str) -> list[Port]:
    """Everything that part `name` listens on."""
    ports = [Port(number, at.LOOPBACK) for number in _LOOPBACK_PORTS.get(name, ())]
    ports += [Port(number, at.BRIDGE_ADDRESS) for number in _BRIDGE_PORTS.get(name, ())]
    return ports + ([Port(at.DNS_PORT, at.BRIDGE_ADDRESS, "udp")] if name == "coredns" else [])


@dataclass(frozen=True)
class Part:
    """One long-running program of the cluster."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    timeout_seconds: float = 60


def binary(binaries: Path, name: str) -> str:
    """Path of program `name` in the folder `binaries`. Raises DevkitError when it is missing."""
    for alias in ALIASES.get(name, (name,)):
        if (binaries / alias).exists():
            return str(binaries / alias)
    raise DevkitError(f"{binaries} has no {name}", "build the toolchain first: python3 -m devkit up")


def environment(layout: Layout, binaries: Path) -> dict[str, str]:
    """Environment of every part: our programs first on the PATH, without the user's Kubernetes settings."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "MODELOPS_PLATFORM")}
    direct = [inherited.get("NO_PROXY", inherited.get("no_proxy", "")), *NO_PROXY]
    no_proxy = ",".join(entry for entry in direct if entry)
    return {
        **inherited,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "GOGC": inherited.get("GOGC", "50"),  # small heaps: memory is scarcer than the garbage collector's time
        "PATH": f"{binaries}:{packages.search_path(layout)}",
        "TMPDIR": str(layout.cluster / "tmp"),
    }


def all_parts(layout: Layout, binaries: Path) -> dict[str, Part]:
    """Every part by its name."""
    parts = [
        _etcd(layout, binaries),
        _containerd(layout, binaries),
        _registry(layout),
        _buildkitd(layout, binaries),
        _apiserver(layout, binaries),
        _controller_manager(layout, binaries),
        _scheduler(layout, binaries),
        _kube_proxy(layout, binaries),
        _coredns(layout, binaries),
        _metrics_server(layout, binaries),
        _agent(layout),
        _kubelet(layout, binaries),
    ]
    return {part.name: part for part in parts}


def _etcd(layout: Layout, binaries: Path) -> Part:
    url, peer = f"https://{at.LOOPBACK}:{at.ETCD_PORT}", f"http://{at.LOOPBACK}:{at.ETCD_PEER_PORT}"
    flags = {
        "name": at.NODE_NAME,
        "data-dir": layout.cluster / "etcd",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"{at.NODE_NAME}={peer}",
        "client-cert-auth": "true",
        "trusted-ca-file": layout.pki / "etcd-ca.crt",
        "cert-file": layout.pki / "etcd.crt",
        "key-file": layout.pki / "etcd.key",
        "auto-compaction-retention": "1h",
        "snapshot-count": "5000",
        "log-level": "warn",
    }
    context = probes.tls(layout, "etcd-ca", "etcd-client")
    ready = probes.encrypted(at.LOOPBACK, at.ETCD_PORT, "/health", context)
    return Part("etcd", _command(binary(binaries, "etcd"), flags), ready)


def _apiserver(layout: Layout, binaries: Path) -> Part:
    keys = layout.pki
    flags = {
        "advertise-address": at.BRIDGE_ADDRESS,
        "bind-address": at.BRIDGE_ADDRESS,
        "secure-port": at.API_PORT,
        "allow-privileged": "true",
        "anonymous-auth": "false",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction,PodSecurity",
        "client-ca-file": keys / "ca.crt",
        "tls-cert-file": keys / "apiserver.crt",
        "tls-private-key-file": keys / "apiserver.key",
        "etcd-servers": f"https://{at.LOOPBACK}:{at.ETCD_PORT}",
        "etcd-cafile": keys / "etcd-ca.crt",
        "etcd-certfile": keys / "etcd-client.crt",
        "etcd-keyfile": keys / "etcd-client.key",
        "encryption-provider-config": layout.config / "secrets-encryption.json",
        "kubelet-certificate-authority": keys / "ca.crt",
        "kubelet-client-certificate": keys / "apiserver-kubelet-client.crt",
        "kubelet-client-key": keys / "apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://kubernetes.default.svc.{at.CLUSTER_DOMAIN}",
        "service-account-key-file": keys / f"{pki.SERVICE_ACCOUNT_KEY}.pub",
        "service-account-signing-key-file": keys / f"{pki.SERVICE_ACCOUNT_KEY}.key",
        "service-cluster-ip-range": ",".join(layout.service_ranges),
        "requestheader-client-ca-file": keys / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": keys / "front-proxy-client.crt",
        "proxy-client-key-file": keys / "front-proxy-client.key",
        "enable-aggregator-routing": "true",
        "profiling": "false",
        "v": 1,
    }
    ready = probes.encrypted(at.LOOPBACK, at.API_PORT, "/readyz", probes.tls(layout, "ca", "admin"))
    return Part("kube-apiserver", _command(binary(binaries, "kube-apiserver"), flags), ready)


def _controller_manager(layout: Layout, binaries: Path) -> Part:
    flags = {
        **_delegated(layout, "controller-manager"),
        "secure-port": at.CONTROLLER_MANAGER_PORT,
        "leader-elect": "false",
        "cluster-cidr": ",".join(layout.pod_ranges),
        "cluster-signing-cert-file": layout.pki / "ca.crt",
        "cluster-signing-key-file": layout.pki / "ca.key",
        "root-ca-file": layout.pki / "ca.crt",
        "service-account-private-key-file": layout.pki / f"{pki.SERVICE_ACCOUNT_KEY}.key",
        "service-cluster-ip-range": ",".join(layout.service_ranges),
        "use-service-account-credentials": "true",
        "horizontal-pod-autoscaler-sync-period": "10s",
        "profiling": "false",
    }
    ready = probes.encrypted(at.LOOPBACK, at.CONTROLLER_MANAGER_PORT, "/healthz", probes.unverified())
    program = binary(binaries, "kube-controller-manager")
    return Part("kube-controller-manager", _command(program, flags), ready)


def _scheduler(layout: Layout, binaries: Path) -> Part:
    flags = {
        **_delegated(layout, "scheduler"),
        "secure-port": at.SCHEDULER_PORT,
        "leader-elect": "false",
        "profiling": "false",
    }
    ready = probes.encrypted(at.LOOPBACK, at.SCHEDULER_PORT, "/healthz", probes.unverified())
    return Part("kube-scheduler", _command(binary(binaries, "kube-scheduler"), flags), ready)


def _kube_proxy(layout: Layout, binaries: Path) -> Part:
    command = (binary(binaries, "kube-proxy"), f"--config={layout.config}/kube-proxy.json", "--v=1")
    return Part("kube-proxy", command, probes.plain(at.LOOPBACK, at.PROXY_METRICS_PORT, "/healthz"))


def _coredns(layout: Layout, binaries: Path) -> Part:
    command = (binary(binaries, "coredns"), "-conf", f"{layout.config}/Corefile")
    return Part("coredns", command, probes.plain(at.LOOPBACK, at.DNS_READY_PORT, "/ready"))


def _metrics_server(layout: Layout, binaries: Path) -> Part:
    flags = {
        **_delegated(layout, "metrics-server"),
        "bind-address": at.BRIDGE_ADDRESS,
        "secure-port": at.METRICS_SERVER_PORT,
        "tls-cert-file": layout.pki / "metrics-server.crt",
        "tls-private-key-file": layout.pki / "metrics-server.key",
        "kubelet-certificate-authority": layout.pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",
        "kubelet-request-timeout": "8s",
    }
    ready = probes.encrypted(at.BRIDGE_ADDRESS, at.METRICS_SERVER_PORT, "/livez", probes.unverified())
    return Part("metrics-server", _command(binary(binaries, "metrics-server"), flags), ready)


def _kubelet(layout: Layout, binaries: Path) -> Part:
    flags = {
        "config": layout.config / "kubelet.json",
        "kubeconfig": layout.kubeconfig_of("kubelet"),
        "root-dir": layout.kubelet,
        "cert-dir": layout.kubelet / "pki",
        "hostname-override": at.NODE_NAME,
        "node-ip": ",".join(layout.node_addresses),
        # For cAdvisor, which otherwise looks for containerd's default socket and then sees pods but no containers.
        "containerd": layout.containerd_socket,
    }
    ready = probes.plain(at.LOOPBACK, at.KUBELET_HEALTH_PORT, "/healthz")
    return Part("kubelet", _command(binary(binaries, "kubelet"), flags), ready)


def _containerd(layout: Layout, binaries: Path) -> Part:
    command = (binary(binaries, "containerd"), "--config", f"{layout.config}/containerd.toml", "--log-level", "warn")
    return Part("containerd", command, probes.listens(layout.containerd_socket))


def _registry(layout: Layout) -> Part:
    program = packages.tool(layout, "docker-registry")
    ready = probes.plain(at.LOOPBACK, at.REGISTRY_PORT, "/v2/")
    return Part("registry", (str(program), "serve", f"{layout.config}/registry.yml"), ready)


def _buildkitd(layout: Layout, binaries: Path) -> Part:
    command = (binary(binaries, "buildkitd"), "--config", f"{layout.config}/buildkitd.toml")
    return Part("buildkitd", command, probes.listens(layout.buildkit_socket))


def _agent(layout: Layout) -> Part:
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from {AGENT} import main; main()"
    command = (sys.executable, "-I", "-c", program, str(layout.kubeconfig_of("agent")), str(layout.volumes),
               str(layout.run / "agent-ready"))  # fmt: skip
    return Part("agent", command, (layout.run / "agent-ready").exists)


def _delegated(layout: Layout, name: str) -> dict[str, object]:
    kubeconfig = layout.kubeconfig_of(name)
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": at.LOOPBACK,
    }


def _command(program: str, flags: dict[str, object]) -> tuple[str, ...]:
    return (program, *(f"--{name}={value}" for name, value in flags.items()))
