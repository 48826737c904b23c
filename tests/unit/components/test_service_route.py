"""ModelService: a host name and TLS in front of it."""

from typing import Any

import pytest

from tests.unit.components.harness import Program
from tests.unit.components.service import ARGS, serve

HOST = "model.example.com"


def routed(**route: Any) -> Program:
    return serve({**ARGS, "port": 8000, "route": {"host": HOST, **route}})


@pytest.mark.parametrize("front", [{"ingress_class": "nginx"}, {"gateway_class": "contour"}])
def test_pulumi_waits_for_a_route_as_long_as_it_does_for_any(front: dict[str, str]) -> None:
    kinds = ("Ingress",) if "ingress_class" in front else ("HTTPRoute", "Gateway")
    assert {routed(**front).one(kind).options["create_timeout"] for kind in kinds} == {""}


def test_an_ingress_of_a_class() -> None:
    program = routed(ingress_class="nginx", annotations={"a": "b"})
    ingress = program.one("Ingress").inputs
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["rules"] == [
        {
            "host": HOST,
            "http": {
                "paths": [
                    {
                        "path": "/",
                        "pathType": "Prefix",
                        "backend": {"service": {"name": "demo", "port": {"number": 8000}}},
                    }
                ]
            },
        }
    ]
    assert "tls" not in ingress["spec"]
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert program.outputs["url"].value == f"http://{HOST}"
    assert program.outputs["predict_url"].value == f"http://{HOST}/api/predict"


def test_an_ingress_with_tls() -> None:
    program = routed(ingress_class="nginx", tls_secret="certificate")
    assert program.one("Ingress").inputs["spec"]["tls"] == [{"hosts": [HOST], "secretName": "certificate"}]
    assert program.outputs["url"].value == f"https://{HOST}"


def test_a_route_at_a_gateway_that_is_there() -> None:
    program = routed(gateway={"name": "shared", "namespace": "infra", "listener": "public"})
    route = program.one("HTTPRoute").inputs
    assert route["spec"] == {
        "parentRefs": [{"name": "shared", "namespace": "infra", "sectionName": "public"}],
        "hostnames": [HOST],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": "demo", "port": 8000, "weight": 100}],
            }
        ],
    }
    assert program.of("Gateway") == []
    assert program.outputs["url"].value == f"https://{HOST}"
    assert routed(gateway={"name": "shared", "https": False}).outputs["url"].value == f"http://{HOST}"


def test_a_gateway_of_ones_own_with_tls() -> None:
    program = routed(gateway_class="fast", tls_secret="certificate")
    gateway = program.one("Gateway").inputs
    [listener] = gateway["spec"]["listeners"]
    assert gateway["spec"]["gatewayClassName"] == "fast"
    assert (listener["protocol"], listener["port"], listener["hostname"]) == ("HTTPS", 443, HOST)
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "certificate"}]}
    route = program.one("HTTPRoute")
    assert route.inputs["spec"]["parentRefs"] == [{"name": "demo"}]
    assert "demo-gateway" in route.options["dependencies"]
    assert program.outputs["url"].value == f"https://{HOST}"


def test_a_route_that_nobody_accepts_is_not_passed_over() -> None:
    route = routed(gateway={"name": "shared"}).one("HTTPRoute").inputs
    assert "Accepted" in route["metadata"]["annotations"]["pulumi.com/waitFor"]


def test_the_url_waits_for_the_route() -> None:
    assert "demo" in routed(ingress_class="nginx").outputs["url"].depends_on


def test_a_plan_knows_the_url_of_a_route() -> None:
    args = {**ARGS, "route": {"host": HOST, "ingress_class": "nginx"}}
    assert serve(args, preview=True).outputs["url"].value == f"http://{HOST}"


@pytest.mark.parametrize("way", [{"ingress_class": "nginx"}, {"gateway": {"name": "shared"}}])
def test_the_service_stays_inside(way: dict[str, Any]) -> None:
    assert routed(**way).one("core/v1:Service").inputs["spec"]["type"] == "ClusterIP"
