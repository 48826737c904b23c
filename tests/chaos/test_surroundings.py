"""What a service needs is away for a while: who serves goes on serving, and what waited goes on by itself.

DNS is away for `MODELOPS_CHAOS_SECONDS` (default 60).
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelService
from tests.chaos.answering import answers_steadily, ready
from tests.cluster.provider.harness import Program
from tests.cluster.serving.support import Serving
from tests.cluster.support import apply, eventually, kubectl, objects, post, remove
from tests.load import load

pytestmark = pytest.mark.chaos
SECONDS = float(os.environ.get("MODELOPS_CHAOS_SECONDS", "60"))
STUBS = Path(__file__).parent / "stubs"
Figure = Callable[[str], None]


@dataclass(frozen=True)
class Stub:
    """A pod with one of the programs in `stubs`, and its Service."""

    name: str
    namespace: str

    def sh(self, script: str) -> str:
        return kubectl("exec", "--namespace", self.namespace, self.name, "--", "sh", "-c", script)

    @property
    def address(self) -> str:
        [service] = objects("services", self.namespace, f"--field-selector=metadata.name={self.name}")
        return str(service["spec"]["clusterIP"])


@contextmanager
def stub(
    program: str, namespace: str, image: str, ports: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Stub]:
    name = f"{program}-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    container = {
        "name": program,
        "image": image,
        "command": ["python3", "-c", (STUBS / f"{program}.py").read_text()],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": user, "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    service_spec = {"selector": {"app": name}, "ports": [ports]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service_spec}
    apply(pod, service)
    try:
        kubectl("wait", "--namespace", namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        yield Stub(name, namespace)
    finally:
        remove(pod, service)


def asking(serving: Serving, name: str, resolver: str) -> Program:
    """A service whose pods ask that DNS server."""

    def other_dns(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ != "kubernetes:apps/v1:Deployment":
            return None
        spec = args.props["spec"].template.spec
        spec.dns_policy = "None"
        searches = [f"{serving.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
        options = [k8s.core.v1.PodDNSConfigOptionArgs(name="ndots", value="5")]
        spec.dns_config = k8s.core.v1.PodDNSConfigArgs(nameservers=[resolver], searches=searches, options=options)
        return pulumi.ResourceTransformationResult(args.props, args.opts)

    args = serving.args(exposed=True, replicas=2, drain_seconds=5)

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        opts = pulumi.ResourceOptions(provider=provider, transformations=[other_dns])
        return {"predict_url": ModelService(name, args, opts).predict_url}  # type: ignore[arg-type]

    return build


def test_without_dns_who_serves_goes_on_and_who_starts_waits(serving: Serving, test_image: str, figure: Figure) -> None:
    name, stack = "nameless", serving.new_stack()
    with stub(
        "resolver", serving.namespace, test_image, {"port": 53, "targetPort": 1053, "protocol": "UDP"}, {}
    ) as dns:
        stack.up(asking(serving, name, dns.address))
        url = stack.outputs()["predict_url"]
        answers_steadily(url)
        with load(url, callers=4, kept=2) as result:
            dns.sh("touch /tmp/away")
            victim, other = sorted(ready(serving, name))
            kubectl("delete", "pod", victim, "--namespace", serving.namespace, "--wait=false")
            time.sleep(SECONDS)
            # The control: the new pod does need DNS.
            assert ready(serving, name) == [other] and len(serving.pods(name)) == 2
            dns.sh("rm /tmp/away")
            back = time.monotonic()
            eventually(lambda: len(ready(serving, name)) == 2, 300)
            waited = time.monotonic() - back
        stack.destroy()
    figure(
        f"DNS away for {SECONDS:g} s: {result.answered} predictions, {len(result.failed)} failed; the pod that started "
        f"meanwhile was ready {waited:.0f} s after its return"
    )
    assert result.failed == [] and result.outputs == {2.0}


@pytest.fixture
def registry(serving: Serving, test_image: str) -> Iterator[Stub]:
    """In front of the registry."""
    environment = {"UPSTREAM": serving.tracking_uri}
    with stub("registry", serving.namespace, test_image, {"port": 5000, "targetPort": 5000}, environment) as made:
        yield made


@pytest.mark.parametrize("fault", ["slow", "errors", "truncated"])
def test_a_registry_that_answers_badly_holds_a_release_up_until_it_is_well(
    fault: str, registry: Stub, serving: Serving, figure: Figure
) -> None:
    name, stack = f"behind-{fault}", serving.new_stack()
    uri = f"http://{registry.name}.{serving.namespace}.svc:5000"
    registry.sh(f"touch /tmp/spoilt; echo {fault} > /tmp/fault")

    def spoilt() -> int:
        return int(registry.sh("wc -l < /tmp/spoilt"))

    running = stack.start(serving.program(name, tracking_uri=uri, exposed=True, replicas=1))
    started = time.monotonic()
    try:
        eventually(lambda: spoilt() >= 3, 240)
        if fault != "slow":
            assert ready(serving, name) == [], "the control: nothing is served of what came badly"
        registry.sh("rm /tmp/fault")
        well = time.monotonic()
    finally:
        code = running.end(400)
    assert code == 0, running.text()
    took = time.monotonic() - well
    assert eventually(
        lambda: post(stack.outputs()["predict_url"], {"inputs": [[0.5]]}) == (200, {"outputs": [2.0]}), 60
    )
    figure(
        f"registry, {fault}: {spoilt()} answers spoilt in {well - started:.0f} s, the same `up` went through "
        f"{took:.0f} s after it was well"
    )
    stack.destroy()
