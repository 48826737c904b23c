"""Service and Ingress: endpoints for the traffic, and an address."""

import time
from collections.abc import Mapping

from .base import Awaiter, Feed, Object, Verdict, at

_NO_PODS = (
    "Service targets Pods that are not ready. Selected Pods may not be ready, or field '.spec.selector' may match "
    "labels on Pods that it should not"
)
_NO_ADDRESS = "Service was not allocated an IP address; does your cloud provider support this?"

SETTLE_SECONDS = 10.0
"""How long to wait for missing endpoints: they may never come."""

READY_SECONDS = 1.0
"""How long endpoints must have been unchanged once all of them are ready."""


class ServiceAwaiter(Awaiter):
    """A Service has no endpoint that is not ready, and, as LoadBalancer, an address.

    No endpoints at all is fine, too, once none have come for a while. A Service that is headless, external or without
    a selector needs none.
    """

    def __init__(self, obj: Object, last: Object | None = None) -> None:
        super().__init__(obj, last)
        self._changed = time.monotonic()

    def feeds(self) -> list[Feed]:
        name = at(self.first, "metadata", "name")
        return [Feed("slices", "discovery.k8s.io/v1", "EndpointSlice", f"kubernetes.io/service-name={name}")]

    def observe(self, feed: str, obj: Object) -> None:
        self._changed = time.monotonic()

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        kind = at(obj, "spec", "type") or "ClusterIP"
        targeted = not self._has_targets(obj, kind) or self._endpoints_ready(related["slices"])
        addressed = kind != "LoadBalancer" or bool(at(obj, "status", "loadBalancer", "ingress"))
        if targeted and addressed:
            return Verdict(ready=True)
        reasons = ([] if targeted else [_NO_PODS]) + ([] if addressed else [_NO_ADDRESS])
        status = "Attempting to allocate IP address to Service" if targeted else "Finding Pods to direct traffic to"
        return Verdict(status=status, reasons=reasons)

    @staticmethod
    def _has_targets(obj: Object, kind: str) -> bool:
        return kind != "ExternalName" and at(obj, "spec", "clusterIP") != "None" and bool(at(obj, "spec", "selector"))

    def _endpoints_ready(self, slices: list[Object]) -> bool:
        states = [at(endpoint, "conditions") or {} for each in slices for endpoint in at(each, "endpoints") or []]
        live = [state for state in states if not state.get("terminating")]
        if any(state.get("ready") is False for state in live):
            return False
        quiet = READY_SECONDS if live else SETTLE_SECONDS
        return not self.patient or time.monotonic() - self._changed >= quiet


class IngressAwaiter(Awaiter):
    """An Ingress has an address, and every path a service with endpoints; a missing one is accepted after a while."""

    def __init__(self, obj: Object, last: Object | None = None) -> None:
        super().__init__(obj, last)
        self._began = time.monotonic()

    def feeds(self) -> list[Feed]:
        return [Feed("slices", "discovery.k8s.io/v1", "EndpointSlice"), Feed("services", "v1", "Service")]

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        external = {
            at(service, "metadata", "name")
            for service in related["services"]
            if at(service, "spec", "type") == "ExternalName"
        }
        targeted = {at(each, "metadata", "labels", "kubernetes.io/service-name") for each in related["slices"]}
        missing = [name for name in self._backends(obj) if name not in external and name not in targeted]
        settled = not self.patient or time.monotonic() - self._began >= SETTLE_SECONDS
        addressed = bool(at(obj, "status", "loadBalancer", "ingress"))
        if addressed and (not missing or settled):
            return Verdict(ready=True)
        reasons = [f'Ingress has at least one rule with an unavailable target service: "{name}"' for name in missing]
        if not addressed:
            reasons.append(
                "Ingress .status.loadBalancer field was not updated with a hostname/IP address. "
                "Is an ingress controller running?"
            )
        return Verdict(status="Finding a matching service for each Ingress path", reasons=reasons)

    @staticmethod
    def _backends(obj: Object) -> list[str]:
        names = []
        for rule in at(obj, "spec", "rules") or []:
            for path in at(rule, "http", "paths") or []:
                if name := at(path, "backend", "service", "name"):
                    names.append(str(name))
        return names
