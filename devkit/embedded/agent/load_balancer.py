"""Gives each LoadBalancer Service its own loopback address; kube-proxy then serves it on this machine."""

import ipaddress
from collections.abc import Iterable, Iterator

from devkit.embedded.agent.api import MERGE_PATCH, Api, Object

SERVICES = "/api/v1/services"
POOL = ipaddress.IPv4Network("127.0.0.0/16")
FIRST = 2


def assignments(services: Iterable[Object]) -> dict[tuple[str, str], str]:
    """Namespace and name of each LoadBalancer Service → its address.

    A Service keeps its address; if two have the same one, the older keeps it. The rest get their
    `spec.loadBalancerIP`, if free, else the lowest free address, the oldest Service first.
    """
    candidates = sorted((service for service in services if _is_ours(service)), key=_age)
    addresses: dict[tuple[str, str], str] = {}
    used: set[str] = set()
    for current in (_present_address, _requested_address):
        for service in candidates:
            address = current(service)
            if _key(service) not in addresses and _is_usable(address) and address not in used:
                addresses[_key(service)] = address
                used.add(address)
    free = _free_addresses(used)
    for service in candidates:
        if _key(service) not in addresses:
            addresses[_key(service)] = next(free)
    return addresses


def reconcile(api: Api, services: list[Object]) -> None:
    """Writes its address into every LoadBalancer Service's status, and clears ours from the others'."""
    addresses = assignments(services)
    for service in services:
        address = addresses.get(_key(service))
        ingress = [{"ip": address, "ipMode": "VIP"}] if address else []
        if _ingress(service) == ingress or (not address and not _has_stale_address(service)):
            continue
        namespace, name = _key(service)
        path = f"/api/v1/namespaces/{namespace}/services/{name}/status"
        api.call("PATCH", path, {"status": {"loadBalancer": {"ingress": ingress or None}}}, MERGE_PATCH)
        print(f"service {namespace}/{name}: {address or 'address freed'}", flush=True)


def _free_addresses(used: set[str]) -> Iterator[str]:
    for offset in range(FIRST, POOL.num_addresses - 1):
        address = str(POOL[offset])
        if address not in used:
            used.add(address)
            yield address


def _is_ours(service: Object) -> bool:
    spec = service["spec"]
    deleted = "deletionTimestamp" in service["metadata"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not deleted


def _is_usable(address: str) -> bool:
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return POOL[FIRST] <= parsed < POOL.broadcast_address


def _has_stale_address(service: Object) -> bool:
    return service["spec"].get("type") != "LoadBalancer" and _is_usable(_present_address(service))


def _ingress(service: Object) -> list[Object]:
    ingress: list[Object] = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [{key: entry[key] for key in ("ip", "ipMode") if key in entry} for entry in ingress]


def _present_address(service: Object) -> str:
    return next((str(entry.get("ip", "")) for entry in _ingress(service)), "")


def _requested_address(service: Object) -> str:
    return str(service["spec"].get("loadBalancerIP", ""))


def _key(service: Object) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _age(service: Object) -> tuple[str, str, str]:
    return service["metadata"].get("creationTimestamp", ""), *_key(service)
