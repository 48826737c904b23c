"""Addresses of LoadBalancer Services: own, stable, freed."""

from typing import Any

from devkit.embedded.agent import load_balancer
from devkit.embedded.agent.api import Object


def service(name: str, address: str = "", kind: str = "LoadBalancer", age: int = 0, **spec: Any) -> Object:
    """A Service as the API server lists it."""
    ingress = [{"ip": address, "ipMode": "VIP"}] if address else None
    return {
        "metadata": {
            "namespace": "demo",
            "name": name,
            "uid": name,
            "creationTimestamp": f"2026-01-01T00:00:{age:02}Z",
        },
        "spec": {"type": kind, **spec},
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


class FakeApi:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.patches: list[tuple[str, Any]] = []

    def call(self, method: str, path: str, body: Object | None = None, content_type: str = "") -> Object:
        assert method == "PATCH" and body is not None
        self.patches.append((path, body["status"]["loadBalancer"]["ingress"]))
        return {}


def addresses(*services: Object) -> dict[str, str]:
    """Name → address, for Services that all live in one namespace."""
    return {name: address for (_, name), address in load_balancer.assignments(services).items()}


def test_each_service_gets_an_address_of_its_own_from_127_0_0_2_on() -> None:
    assert addresses(service("a"), service("b", age=1)) == {"a": "127.0.0.2", "b": "127.0.0.3"}


def test_address_stays_when_older_services_go() -> None:
    assert addresses(service("b", "127.0.0.3")) == {"b": "127.0.0.3"}


def test_freed_address_goes_to_the_next_service() -> None:
    found = addresses(service("b", "127.0.0.3"), service("new", age=9))
    assert found == {"b": "127.0.0.3", "new": "127.0.0.2"}


def test_a_requested_address_is_given_when_free() -> None:
    assert addresses(service("a", loadBalancerIP="127.0.0.77")) == {"a": "127.0.0.77"}


def test_a_requested_address_of_another_service_is_not_given() -> None:
    found = addresses(service("a", "127.0.0.77"), service("b", age=1, loadBalancerIP="127.0.0.77"))
    assert found == {"a": "127.0.0.77", "b": "127.0.0.2"}


def test_address_outside_the_pool_is_replaced() -> None:
    assert addresses(service("a", "192.0.2.7")) == {"a": "127.0.0.2"}
    assert addresses(service("a", "127.0.0.1")) == {"a": "127.0.0.2"}


def test_double_claim_is_the_older_services() -> None:
    found = addresses(service("young", "127.0.0.2", age=5), service("old", "127.0.0.2", age=1))
    assert found == {"old": "127.0.0.2", "young": "127.0.0.3"}


def test_other_kinds_and_classes_get_nothing() -> None:
    assert addresses(service("a", kind="ClusterIP"), service("b", loadBalancerClass="else/where")) == {}


def test_service_being_deleted_frees_its_address() -> None:
    going = service("going", "127.0.0.2")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert addresses(going, service("new")) == {"new": "127.0.0.2"}


def test_status_is_written_once() -> None:
    api = FakeApi()
    load_balancer.reconcile(api, [service("a"), service("b", "127.0.0.3")])  # type: ignore[arg-type]
    path = "/api/v1/namespaces/demo/services/a/status"
    assert api.patches == [(path, [{"ip": "127.0.0.2", "ipMode": "VIP"}])]


def test_address_is_cleared_when_the_service_changes_its_kind() -> None:
    api = FakeApi()
    load_balancer.reconcile(api, [service("a", "127.0.0.2", kind="ClusterIP")])  # type: ignore[arg-type]
    assert api.patches == [("/api/v1/namespaces/demo/services/a/status", None)]


def test_foreign_status_of_another_kind_is_left_alone() -> None:
    api = FakeApi()
    load_balancer.reconcile(api, [service("a", "192.0.2.7", kind="ClusterIP")])  # type: ignore[arg-type]
    assert api.patches == []
