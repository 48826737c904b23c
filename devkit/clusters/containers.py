"""Clusters whose nodes are containers: kind and Minikube, each under a name of our own, with a registry beside it."""

import os

from devkit.clusters import tools
from devkit.clusters.tools import NAME, NODE_PORTS, REGISTRY_PORT, run
from devkit.paths import kubeconfig, state_root
from devkit.steps import Report

KIND_IMAGE_VARIABLE = "MODELOPS_KIND_IMAGE"
"""Names a node image to use in place of kind's own, for machines that can't pull that."""
_KIND_SETTINGS = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
- |-
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/etc/containerd/certs.d"
nodes:
- role: control-plane
{image}  kubeadmConfigPatches:
  - |
    apiVersion: kubeadm.k8s.io/v1beta4
    kind: ClusterConfiguration
    apiServer: {{extraArgs: [{{name: service-node-port-range, value: {range}}}]}}
  - |
    apiVersion: kubeadm.k8s.io/v1beta3
    kind: ClusterConfiguration
    apiServer: {{extraArgs: {{service-node-port-range: {range}}}}}
  extraPortMappings:
{mappings}
"""


class Containers:
    """What both have in common."""

    kind: str
    needs_builds = False
    node: str

    def exists(self) -> bool:
        """Whether an earlier `start` has made it."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(kubeconfig())}

    def facts(self) -> dict[str, object]:
        return {
            "registry": f"localhost:{REGISTRY_PORT}",
            "builder": NAME,
            "load_balancer": False,
            "node_host": tools.node_host(self.node),
            "kubeconfig": str(kubeconfig()),
        }


class Kind(Containers):
    """A kind cluster. Needs a running Docker engine."""

    kind = "kind"
    node = f"{NAME}-control-plane"

    def start(self, report: Report) -> None:
        report("starting a registry")
        tools.ensure_registry()
        if not self.exists():
            report("creating the kind cluster")
            settings = state_root() / "kind.yaml"
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text(kind_settings())
            create = ["kind", "create", "cluster", "--name", NAME, "--config", str(settings)]
            run([*create, "--kubeconfig", str(kubeconfig())])
        run(["docker", "start", self.node])  # after a restart of Docker
        tools.connect_registry([self.node], network="kind")
        run(["kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(kubeconfig())])
        tools.ensure_builder()

    def exists(self) -> bool:
        """Whether an earlier `start` has made it."""
        return NAME in run(["kind", "get", "clusters"], check=False).stdout.split()

    def stop(self, report: Report) -> None:
        report("deleting the kind cluster and its registry")
        run(["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig())])
        tools.remove_registry_and_builder()

    def status(self) -> dict[str, object]:
        return {"nodes": run(["kind", "get", "nodes", "--name", NAME], check=False).stdout.split()}


class Minikube(Containers):
    """A Minikube profile with metrics-server. Needs a running Docker engine."""

    kind = "minikube"
    node = NAME

    def start(self, report: Report) -> None:
        report("starting a registry")
        tools.ensure_registry()
        report("starting Minikube")
        # What an existing profile was made with stays.
        self._minikube(
            "start",
            "--driver=docker",
            "--container-runtime=containerd",
            f"--extra-config=apiserver.service-node-port-range={_range()}",
            f"--ports={','.join(f'127.0.0.1:{port}:{port}' for port in NODE_PORTS)}",
        )
        self._minikube("addons", "enable", "metrics-server")
        tools.connect_registry([self.node], network=NAME)
        tools.ensure_builder()

    def exists(self) -> bool:
        """Whether an earlier `start` has made it."""
        return run(["minikube", "--profile", NAME, "status"], check=False).stdout.find("host:") >= 0

    def stop(self, report: Report) -> None:
        report("deleting the Minikube profile and its registry")
        tools.remove_registry_and_builder()  # first: a network with members can't be deleted
        self._minikube("delete")

    def status(self) -> dict[str, object]:
        return {"minikube": run(["minikube", "--profile", NAME, "status"], check=False).stdout.split("\n")}

    def _minikube(self, *arguments: str) -> None:
        run(["minikube", "--profile", NAME, *arguments])


def kind_settings() -> str:
    """The configuration of a kind cluster whose node ports answer on this machine."""
    mappings = "\n".join(
        f"  - {{containerPort: {port}, hostPort: {port}, listenAddress: 127.0.0.1}}" for port in NODE_PORTS
    )
    image = f"  image: {named}\n" if (named := os.environ.get(KIND_IMAGE_VARIABLE)) else ""
    return _KIND_SETTINGS.format(image=image, range=_range(), mappings=mappings)


def _range() -> str:
    return f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
