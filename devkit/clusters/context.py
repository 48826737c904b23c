"""A cluster that is already there, named by its kubectl context."""

import json
from typing import Any

from devkit.clusters import tools
from devkit.errors import DevkitError
from devkit.steps import Report

_WITHOUT_LOAD_BALANCER = ("kind-", "minikube")
"""Names of contexts of local tools that assign no address to Services of type LoadBalancer by themselves."""


class Context:
    """A cluster that the stack's config names by its kubectl context. The devkit starts and stops nothing in it."""

    kind = "context"
    needs_builds = False

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, report: Report) -> None:
        report(f"using the context {self.name} that the stack's config names")
        done = self._kubectl("version", "--request-timeout=10s", check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DevkitError(
                f"the cluster of the context {self.name} does not respond: {reason[:300]}",
                "correct kubernetes:context in the stack's config, or the kubeconfig",
            )

    def stop(self, report: Report) -> None:
        report(f"the cluster of the context {self.name} is yours: nothing is removed from it")

    def status(self) -> dict[str, object]:
        return {"context": self.name}

    def environment(self) -> dict[str, str]:
        return {}

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"registry": None, "builder": None, "load_balancer": True}
        if not self.name.startswith(_WITHOUT_LOAD_BALANCER) or self._assigns_addresses():
            return facts
        return facts | {"load_balancer": False, "node_host": self._node_host()}

    def _assigns_addresses(self) -> bool:
        """Whether something like cloud-provider-kind, MetalLB or `minikube tunnel` has given a Service an address."""
        services = self._items("services", "--all-namespaces")
        return any(service.get("status", {}).get("loadBalancer", {}).get("ingress") for service in services)

    def _node_host(self) -> str:
        addresses = [
            address["address"]
            for node in self._items("nodes")
            for address in node.get("status", {}).get("addresses", [])
            if address.get("type") == "InternalIP"
        ]
        if reachable := next(filter(tools.answers, addresses), None):
            return str(reachable)
        raise DevkitError(
            f"Services on the cluster of the context {self.name} can't be reached from this machine: it has no load "
            "balancer, and its nodes have no address that answers here",
            "run cloud-provider-kind or `minikube tunnel` beside it, or let `make up CLUSTER=kind` make a cluster",
        )

    def _items(self, *what: str) -> list[dict[str, Any]]:
        return list(json.loads(self._kubectl("get", *what, "--output=json").stdout)["items"])

    def _kubectl(self, *arguments: str, check: bool = True) -> Any:
        return tools.run(["kubectl", "--context", self.name, *arguments], check=check, own_kubeconfig=False)
