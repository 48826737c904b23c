"""Objects of extensions that a cluster may have: their real definitions take them, and without those it is said.

No controller of theirs runs here, so the tests write what one would answer; test_gateway.py has one for routes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelService, ModelServiceArgs
from tests.cluster.answers import GATEWAY, ROUTE, answering
from tests.cluster.serving.canary_support import write_analysis_record
from tests.cluster.serving.crds import GATEWAY_API, KEDA, LEADER_WORKER_SET, Source, crds, has_crds
from tests.cluster.serving.support import Serving
from tests.cluster.support import apply, eventually, kubectl, meanwhile, objects

pytestmark = pytest.mark.serving

HOST = "model.test"
ZERO = {"prometheus_url": "http://prometheus:9090", "query": "sum(asked)", "threshold": 5}
SCALED = {"replicas": None, "autoscaling": {"max_replicas": 2, "scale_to_zero": ZERO}}
LARGE: dict[str, Any] = {
    "runtime": "vllm",
    "model_uri": f"hf://organization/model@{40 * '0'}",
    "resources": {"cpu": "20m", "memory": "64Mi", "memory_limit": "1Gi", "gpus": 2},
    "vllm": {"shared_memory": "64Mi", "max_model_len": 4096},
    "cache": {"storage_size": "1Gi"},
    "replicas": 1,
    # No node here has a GPU, and none will come.
    "rollout": {"watch": False},
}


def get(kind: str, name: str, namespace: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("get", kind, name, "--namespace", namespace, "--output", "json")))


@pytest.fixture(scope="module")
def certificate(serving: Serving) -> str:
    """A Secret of the kind that TLS takes."""
    name = "certificate"
    literals = ["--from-literal=tls.crt=", "--from-literal=tls.key="]
    kubectl(
        "create", "secret", "generic", name, "--namespace", serving.namespace, "--type=kubernetes.io/tls", *literals
    )
    return name


@pytest.mark.parametrize(
    ("source", "shape", "kind"),
    [
        (GATEWAY_API, {"route": {"host": HOST, "gateway": {"name": "shared"}}}, "HTTPRoute"),
        (KEDA, SCALED, "ScaledObject"),
    ],
)
def test_an_extension_that_the_cluster_lacks_is_named(
    serving: Serving, source: Source, shape: dict[str, Any], kind: str
) -> None:
    if has_crds(source):
        pytest.skip(f"this cluster has {kind}")
    stack = serving.new_stack()
    failed = stack.up(serving.program("lacking", **{"replicas": 1, **shape}), succeed=False)
    assert "Verify that any required CRDs have been created" in failed.text, failed.text
    assert f'no matches for kind "{kind}"' in failed.text
    # The model is served all the same.
    assert serving.pods("lacking")
    stack.destroy()


def test_an_ingress_with_tls(serving: Serving, certificate: str) -> None:
    stack = serving.new_stack()
    route = {"host": HOST, "ingress_class": "any", "tls_secret": certificate}
    status = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
    with answering(serving.namespace, {"ingress/entered": status}):
        stack.up(serving.program("entered", replicas=1, route=route))
    assert stack.outputs()["url"] == f"https://{HOST}"
    spec = get("ingress", "entered", serving.namespace)["spec"]
    assert spec["tls"] == [{"hosts": [HOST], "secretName": certificate}]
    backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "entered", "port": {"number": 80}}
    stack.unchanged(serving.program("entered", replicas=1, route=route))
    stack.destroy()


def test_a_gateway_with_tls_and_its_route(serving: Serving, certificate: str) -> None:
    stack = serving.new_stack()
    route = {"host": HOST, "gateway_class": "any", "tls_secret": certificate}
    with crds(GATEWAY_API):
        answers = {"gateways/gated": GATEWAY, "httproutes/gated": ROUTE}
        with answering(serving.namespace, answers):
            stack.up(serving.program("gated", replicas=1, route=route))
        stack.unchanged(serving.program("gated", replicas=1, route=route))
        assert stack.outputs()["url"] == f"https://{HOST}"
        [listener] = get("gateways", "gated", serving.namespace)["spec"]["listeners"]
        assert listener["tls"]["certificateRefs"][0]["name"] == certificate
        rule = get("httproutes", "gated", serving.namespace)["spec"]["rules"][0]
        assert rule["backendRefs"][0]["name"] == "gated"
        stack.destroy()


def test_a_route_with_the_weights_of_a_canary_and_copies_for_a_shadow(serving: Serving) -> None:
    stack = serving.new_stack()
    analysis = {"prometheus_url": "http://prometheus:9090", "interval_seconds": 3600}
    canary = {"model_uri": serving.uri("twin"), "weight_percent": 25, "split": "Gateway", "analysis": analysis}
    program = serving.program(
        "weighed",
        replicas=1,
        route={"host": HOST, "gateway": {"name": "shared"}},
        canary=canary,
        shadow={"model_uri": serving.uri("twin"), "mirroring": "Gateway", "percent": 50},
    )

    def rule() -> dict[str, Any]:
        return dict(get("httproutes", "weighed", serving.namespace)["spec"]["rules"][0])

    def weights() -> dict[str, int]:
        return {ref["name"]: ref["weight"] for ref in rule()["backendRefs"]}

    with crds(GATEWAY_API):
        with answering(serving.namespace, {"httproutes/weighed": ROUTE}):
            stack.up(program)
            assert weights() == {"weighed": 75, "weighed-canary": 25}
            mirror = rule()["filters"][0]["requestMirror"]
            assert (mirror["backendRef"]["name"], mirror["percent"]) == ("weighed-shadow", 50)
            stack.unchanged(program)
            old, new = serving.uri("double"), serving.uri("twin")
            write_analysis_record(serving.namespace, "weighed", "roll back", declared=old, stable=old, canary=new)
            stack.up(program)
        assert weights() == {"weighed": 100, "weighed-canary": 0}
        assert serving.pods("weighed", track="canary") == []
        own = get("service", "weighed-canary", serving.namespace)["spec"]["selector"]
        assert own["modelops.dev/track"] == "stable"
        stack.unchanged(program)
        stack.destroy()


def test_an_ingress_with_the_weight_of_a_canary(serving: Serving) -> None:
    stack = serving.new_stack()
    canary = {"model_uri": serving.uri("twin"), "weight_percent": 25, "split": "NginxIngress"}
    program = serving.program("parted", replicas=1, route={"host": HOST, "ingress_class": "any"}, canary=canary)
    status = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
    with answering(serving.namespace, {"ingress/parted": status, "ingress/parted-canary": status}):
        stack.up(program)
    second = get("ingress", "parted-canary", serving.namespace)
    assert second["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] == "25"
    stack.unchanged(program)
    stack.destroy()


def test_scale_to_zero_by_keda(serving: Serving) -> None:
    stack = serving.new_stack()
    with crds(KEDA):
        stack.up(serving.program("sleepy", **SCALED))
        stack.unchanged(serving.program("sleepy", **SCALED))
        spec = get("scaledobjects", "sleepy", serving.namespace)["spec"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 2)
        # What KEDA does when nothing is asked for, and an update afterwards.
        kubectl("scale", "deployment", "sleepy", "--replicas=0", "--namespace", serving.namespace)
        eventually(lambda: not serving.pods("sleepy"))
        stack.up(serving.program("sleepy", alias="triple", **SCALED))
        assert not serving.pods("sleepy")
        stack.destroy()


def unattended(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Pods on GPUs never start here: nobody waits for them."""
    if args.type_ not in (
        "kubernetes:apps/v1:Deployment",
        "kubernetes:core/v1:Service",
        "kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet",
    ):
        return None
    metadata, unawaited = args.props["metadata"], {"pulumi.com/skipAwait": "true"}
    if isinstance(metadata, dict):  # of a custom object
        metadata["annotations"] = unawaited
    else:
        metadata.annotations = unawaited
    return pulumi.ResourceTransformationResult(args.props, args.opts)


def large(serving: Serving, name: str, **changes: Any) -> Callable[[k8s.Provider], Mapping[str, Any]]:
    given: ModelServiceArgs = {**LARGE, "namespace": serving.namespace, **changes}  # type: ignore[typeddict-item]

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        opts = pulumi.ResourceOptions(provider=provider, transformations=[unattended])
        return {"predict_url": ModelService(name, given, opts).predict_url}

    return build


def test_a_large_models_pod_is_whole_and_waits_for_nothing_but_its_gpus(serving: Serving) -> None:
    stack = serving.new_stack()
    stack.up(large(serving, "large"))
    stack.unchanged(large(serving, "large"))

    def reason() -> str:
        [pod] = serving.pods("large")
        conditions = {entry["type"]: entry for entry in pod["status"].get("conditions", [])}
        return str(conditions["PodScheduled"]["message"])

    assert "Insufficient nvidia.com/gpu" in eventually(reason)
    [pod] = serving.pods("large")
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "2"
    assert stack.outputs()["predict_url"].endswith("/v1/chat/completions")
    stack.destroy()


def test_a_model_over_several_nodes_is_a_leader_worker_set(serving: Serving) -> None:
    stack = serving.new_stack()
    shape: dict[str, Any] = {"vllm": {"nodes": 2}, "replicas": None, "cache": None}
    scaled = {"autoscaling": {"max_replicas": 2, "target_cpu_percent": 50}}
    with crds(LEADER_WORKER_SET):
        stack.up(large(serving, "wide", **shape, **scaled))
        stack.unchanged(large(serving, "wide", **shape, **scaled))
        [found] = objects("leaderworkersets", serving.namespace)
        assert found["spec"]["leaderWorkerTemplate"]["size"] == 2
        [scaler] = objects("horizontalpodautoscalers", serving.namespace)
        assert scaler["spec"]["scaleTargetRef"]["kind"] == "LeaderWorkerSet"
        stack.destroy()


@contextmanager
def making_leaders(namespace: str, name: str) -> Iterator[None]:
    """Makes the leader's pod of a LeaderWorkerSet, as its controller would."""

    def make() -> bool:
        found = [each for each in objects("leaderworkersets", namespace) if each["metadata"]["name"] == name]
        for each in found:
            template = each["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
            labels = {**template["metadata"]["labels"], "leaderworkerset.sigs.k8s.io/name": name}
            meta = {"name": f"{name}-0", "namespace": namespace, "labels": labels}
            apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
        return bool(found)

    with meanwhile(make, 0.5):
        yield


@pytest.mark.long
def test_a_model_over_several_nodes_that_no_node_takes_ends_the_update_with_the_reason(serving: Serving) -> None:
    stack = serving.new_stack()
    shape: dict[str, Any] = {"vllm": {"nodes": 2}, "cache": None, "rollout": {}, "runtime_image": serving.image}
    given: Any = {**LARGE, "namespace": serving.namespace, **shape}

    def program(provider: k8s.Provider) -> None:
        args = {key: value for key, value in given.items() if value is not None}
        ModelService("waiting", args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]

    with crds(LEADER_WORKER_SET), making_leaders(serving.namespace, "waiting"):
        failed = stack.up(program, succeed=False)
        assert "0 of 2 pods are ready. pod waiting-0: it can't be scheduled: " in failed.text, failed.text
        assert "Insufficient nvidia.com/gpu" in failed.text
        stack.destroy()


def test_several_nodes_without_leader_worker_set_are_refused_by_name(serving: Serving) -> None:
    if has_crds(LEADER_WORKER_SET):
        pytest.skip("this cluster has LeaderWorkerSet")
    stack = serving.new_stack()
    failed = stack.up(large(serving, "wide", vllm={"nodes": 2}, cache=None), succeed=False)
    assert 'no matches for kind "LeaderWorkerSet"' in failed.text, failed.text
    stack.destroy()
