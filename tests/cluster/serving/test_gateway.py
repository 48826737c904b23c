"""Routes that real requests take: through Contour and Envoy, by Gateway API and by Ingress."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelops.kubernetes import certificates
from tests.cluster.serving import gateway
from tests.cluster.serving.canary_support import write_analysis_record
from tests.cluster.serving.support import WRONG_SLOPE, Serving
from tests.cluster.support import apply, eventually
from tests.load import INPUTS, LoadResult, load, send_requests

pytestmark = [pytest.mark.serving, pytest.mark.long]

HOST = "model.test"
OLD = {(value, 2 * value + 1) for value in INPUTS}
NEW = {(value, WRONG_SLOPE * value + 1) for value in INPUTS}
POINTS = 3
ANALYSIS = {"prometheus_url": "http://prometheus:9090", "interval_seconds": 3600}


def answered(address: str, requests: int = 20) -> bool:
    """Whether the route works: a proxy learns of one some moments after it was accepted."""
    return not send_requests(url(address), requests, host=HOST).failed


def url(address: str) -> str:
    return f"http://{address}/api/predict"


class TestWeights:
    """A canary by the weights of an HTTPRoute, at a Gateway of the service's own."""

    @pytest.fixture(scope="class")
    def address(self, serving: Serving) -> Iterator[str]:
        with gateway.installed({"namespace": serving.namespace, "name": "weighed"}) as found:
            yield found

    @pytest.fixture(scope="class")
    def stack(self, serving: Serving, address: str) -> Iterator[Any]:
        made = serving.new_stack()
        made.up(self.program(serving, 10))
        eventually(lambda: answered(address), 60)
        yield made
        made.destroy(succeed=None)

    def program(self, serving: Serving, percent: int) -> Any:
        canary = {
            "model_uri": serving.uri("wrong"),
            "weight_percent": percent,
            "split": "Gateway",
            "analysis": ANALYSIS,
        }
        route = {"host": HOST, "gateway_class": gateway.CLASS}
        return serving.program("weighed", replicas=1, drain_seconds=5, route=route, canary=canary)

    def shared(self, address: str, requests: int) -> LoadResult:
        return send_requests(url(address), requests, host=HOST)

    def test_a_tenth_of_the_requests_is_the_canarys(
        self, serving: Serving, address: str, stack: Any, figure: Callable[[str], None]
    ) -> None:
        stack.up(self.program(serving, 10))
        assert stack.outputs()["url"] == f"http://{HOST}"
        result = self.shared(address, 5000)
        share = result.share(*NEW)
        figure(f"split by a Gateway's weights: {share:.2f} % of 5,000 requests to a canary of 10 %")
        assert not result.failed
        assert abs(share - 10) <= POINTS

    def test_another_weight_moves_the_share_and_loses_no_request(
        self, serving: Serving, address: str, stack: Any
    ) -> None:
        with load(url(address), callers=2, pause_seconds=0.01, inputs=INPUTS, host=HOST) as background_load:
            stack.up(self.program(serving, 40))
            eventually(lambda: abs(self.shared(address, 300).share(*NEW) - 40) <= 10, 60)
            result = self.shared(address, 3000)
        assert abs(result.share(*NEW) - 40) <= POINTS
        assert not result.failed and not background_load.failed, (result.failed, background_load.failed)

    def test_a_canary_that_is_rolled_back_gets_none_and_its_end_loses_none(
        self, serving: Serving, address: str, stack: Any, figure: Callable[[str], None]
    ) -> None:
        stack.up(self.program(serving, 40))
        old, new = serving.uri("double"), serving.uri("wrong")
        write_analysis_record(serving.namespace, "weighed", "roll back", declared=old, stable=old, canary=new)
        with load(url(address), callers=2, pause_seconds=0.01, inputs=INPUTS, host=HOST) as background_load:
            stack.up(self.program(serving, 40))
            eventually(lambda: set(self.shared(address, 50).answers) <= OLD, 60)
        assert serving.pods("weighed", track="canary") == []
        assert not background_load.failed, background_load.failed
        figure(f"rolled back behind a Gateway: {background_load.total} requests background_load, none failed")
        stack.unchanged(self.program(serving, 40))


def test_a_gateway_that_is_there_mirrors_requests_to_a_shadow(serving: Serving, figure: Callable[[str], None]) -> None:
    shared: Any = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "shared", "namespace": serving.namespace},
        "spec": {
            "gatewayClassName": gateway.CLASS,
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "Same"}}}
            ],
        },
    }
    stack = serving.new_stack()
    shadow = {"model_uri": serving.uri("wrong"), "mirroring": "Gateway"}
    route = {"host": HOST, "gateway": {"name": "shared", "https": False}}
    with gateway.installed({"namespace": serving.namespace, "name": "shared"}) as address:
        apply(shared)
        stack.up(serving.program("mirrored", replicas=1, route=route, shadow=shadow))
        eventually(lambda: answered(address), 60)
        before = serving.predictions("mirrored", track="shadow")
        result = send_requests(url(address), 300, host=HOST)
        assert set(result.answers) <= OLD and not result.failed
        eventually(lambda: serving.predictions("mirrored", track="shadow") - before >= 300, 60)
        copies = serving.predictions("mirrored", track="shadow") - before
        figure(f"shadow by a Gateway: {copies:.0f} copies of 300 requests")
        stack.destroy()


def secret(serving: Serving, name: str) -> str:
    """A Secret with a certificate for HOST; gives the authority's certificate."""
    files = certificates.make({"tls": [HOST]})
    data = {field: base64.b64encode(files[field]).decode() for field in ("tls.crt", "tls.key")}
    metadata = {"name": name, "namespace": serving.namespace}
    apply({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data})
    return files[certificates.AUTHORITY].decode()


@pytest.mark.parametrize("kind", ["Gateway", "Ingress"])
def test_clients_speak_https_with_the_name_of_the_route(serving: Serving, kind: str) -> None:
    name = f"closed-{kind.lower()}"
    authority = secret(serving, f"{name}-certificate")
    stack = serving.new_stack()
    by = "gateway_class" if kind == "Gateway" else "ingress_class"
    route = {"host": HOST, by: gateway.CLASS, "tls_secret": f"{name}-certificate"}
    program = serving.program(name, replicas=1, route=route)
    with gateway.installed({"namespace": serving.namespace, "name": name} if kind == "Gateway" else None) as address:
        stack.up(program)
        assert stack.outputs()["url"] == f"https://{HOST}"
        assert eventually(lambda: gateway.predicted_over_https(address, HOST, authority), 60) == [2.0]
        stack.unchanged(program)
        stack.destroy()
