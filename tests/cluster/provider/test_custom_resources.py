"""What a webhook or a controller fills in, in objects whose kinds the provider does not know.

Admission policies stand in for the webhooks: to the provider it is the same who filled something in.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import ResourceOptions

from modelops import ModelService, MonitoringStack, TrainingJob
from tests.cluster.admission import cel, mutating
from tests.cluster.answers import GATEWAY, ROUTE, answering, condition
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.serving.crds import (
    GATEWAY_API,
    KEDA,
    LEADER_WORKER_SET,
    PROMETHEUS_OPERATOR,
    TRAINER,
    Source,
    crds,
    sources,
)
from tests.cluster.support import create, eventually, kubectl, objects, remove

Fields = Mapping[str, Any]
"""What is filled in: path → value."""


@contextmanager
def filling(namespace: str, group: str, plural: str, fields: Fields) -> Iterator[None]:
    """Everything of that kind that is written in the namespace gets the fields."""
    name = f"{namespace}-{plural}"
    patches = ", ".join(
        f'JSONPatch{{op: "add", path: {json.dumps(path)}, value: {cel(value)}}}' for path, value in fields.items()
    )
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [plural]}
    with mutating(name, namespace, rule, f"[{patches}]"):
        yield


@pytest.fixture
def widgets(namespace: str, platform_env: dict[str, str]) -> Iterator[str]:
    """The group of a kind `Widget` that takes anything, and whose webhook fills in `spec.suspend` and a label."""
    group = f"{namespace}.invalid"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    create(definition)
    try:
        kubectl("wait", "--for=condition=Established", f"crd/widgets.{group}", "--timeout=60s")
        with filling(namespace, group, "widgets", {"/spec/suspend": False, "/spec/items/0/added": 1}):
            eventually(lambda: _is_filled(namespace, group), 60)
            yield group
    finally:
        remove(definition)


def _is_filled(namespace: str, group: str) -> bool:
    """Whether the policy acts already: it does a moment after it was made."""
    probe = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"items": [{}]},
    }
    with suppress(AssertionError):  # the kind, too, is served a moment after it was made
        create(probe)
        (found,) = [each for each in objects("widgets", namespace) if each["metadata"]["name"] == "probe"]
        remove(probe)
        return "suspend" in found["spec"]
    return False


def _widget(group: str, spec: Mapping[str, Any], *, replace: bool = True) -> Program:
    def program(provider: k8s.Provider) -> None:
        options = ResourceOptions(provider=provider, replace_on_changes=["spec"] if replace else None)
        k8s.apiextensions.CustomResource(
            "widget", api_version=f"{group}/v1", kind="Widget", spec={"items": [{"a": 1}], **spec}, opts=options
        )

    return program


def test_what_is_filled_in_is_no_change(stack: Stack, widgets: str) -> None:
    program = _widget(widgets, {"empty": {}, "none": [], "text": ""})
    stack.up(program)
    (found,) = objects("widgets", stack.namespace)
    assert found["spec"]["suspend"] is False and found["spec"]["items"] == [{"a": 1, "added": 1}]
    stack.unchanged(program)
    stack.refresh()
    stack.unchanged(program)


def test_a_null_is_a_change_at_every_update(stack: Stack, widgets: str) -> None:
    program = _widget(widgets, {"suspend": None})
    stack.up(program)
    preview = stack.preview(program)
    assert "replace" in preview.operations("widget")
    assert preview.diffs["widget"]["spec.suspend"].startswith("delete")


def test_a_value_that_the_webhook_writes_otherwise_is_a_change_at_every_update(stack: Stack, widgets: str) -> None:
    program = _widget(widgets, {"suspend": True}, replace=False)
    stack.up(program)
    assert stack.preview(program).changed() == {"widget": ["update"]}


GATED = {"route": {"host": "model.test", "gateway_class": "any"}}
ZERO = {"prometheus_url": "http://prometheus:9090", "query": "sum(asked)", "threshold": 5}
RESOURCES = {"cpu": "1000m", "memory": "1024Mi", "memory_limit": "2048Mi"}
"""Of another form than the server's."""
STATUSES: Mapping[str, Any] = {
    "jobsets": {"terminalState": "Completed"},
    "trainjobs": {"conditions": [condition("Complete")]},
    "gateways": GATEWAY,
    "httproutes": ROUTE,
    "leaderworkersets": {"conditions": [condition("Available")]},
}
"""What the controllers would answer; none of them runs here."""


def _training(namespace: str, provider: k8s.Provider, **changes: Any) -> None:
    args: Any = {
        "namespace": namespace,
        "image": "nowhere.invalid/train@sha256:" + "a" * 64,
        "model_name": "plain",
        "framework": "pytorch",
        "tracking_uri": "http://registry:5000",
        "command": ["train"],
        "resources": RESOURCES,
        "workers": 2,
        **changes,
    }
    TrainingJob("filled", args, ResourceOptions(provider=provider))


def _serving(namespace: str, provider: k8s.Provider, **changes: Any) -> None:
    args: Any = {
        "namespace": namespace,
        "image": "nowhere.invalid/serve@sha256:" + "a" * 64,
        "model_uri": "models:/line@run-0123456789ab",
        "tracking_uri": "http://registry:5000",
        "resources": RESOURCES,
        "rollout": {"watch": False},
        **changes,
    }
    ModelService("filled", args, ResourceOptions(provider=provider, transformations=[_unawaited]))


def _unawaited(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Nothing that needs an image ever starts here."""
    if not args.type_.endswith((":Deployment", ":Service", ":Job")):
        return None
    args.props["metadata"].annotations = {"pulumi.com/skipAwait": "true"}
    return pulumi.ResourceTransformationResult(args.props, args.opts)


def _monitoring(namespace: str, provider: k8s.Provider) -> None:
    args: Any = {"namespace": namespace, "attach": {"prometheus_operator": {"labels": {"release": "kps"}}}}
    MonitoringStack("filled", args, ResourceOptions(provider=provider))


LARGE = {
    "runtime": "vllm",
    "model_uri": f"hf://organization/model@{40 * '0'}",
    "resources": {**RESOURCES, "gpus": 2},
    "vllm": {"nodes": 2, "max_model_len": 4096},
}
MADE: Mapping[str, tuple[Source | None, Any, Mapping[str, Fields]]] = {
    "JobSet": (
        None,
        lambda namespace, provider: _training(namespace, provider, backend="jobset"),
        {
            "jobsets.jobset.x-k8s.io": {
                "/spec/suspend": False,
                "/spec/replicatedJobs/0/groupName": "filled",
                "/metadata/labels/filled": "yes",
            }
        },
    ),
    "TrainJob": (
        TRAINER,
        lambda namespace, provider: _training(namespace, provider, backend="trainer"),
        {
            "trainjobs.trainer.kubeflow.org": {"/spec/suspend": False, "/metadata/labels/filled": "yes"},
            "trainingruntimes.trainer.kubeflow.org": {
                "/spec/template/spec/suspend": False,
                "/metadata/labels/filled": "yes",
            },
        },
    ),
    "LeaderWorkerSet": (
        LEADER_WORKER_SET,
        lambda namespace, provider: _serving(namespace, provider, **LARGE),
        {
            "leaderworkersets.leaderworkerset.x-k8s.io": {
                "/spec/networkConfig": {"subdomainPolicy": "Shared"},
                "/spec/rolloutStrategy/rollingUpdateConfiguration/partition": 0,
                "/metadata/labels/filled": "yes",
            }
        },
    ),
    "ScaledObject": (
        KEDA,
        lambda namespace, provider: _serving(
            namespace, provider, autoscaling={"max_replicas": 2, "scale_to_zero": ZERO}
        ),
        {"scaledobjects.keda.sh": {"/spec/pollingInterval": 30, "/metadata/labels/scaledobject.keda.sh~1name": "x"}},
    ),
    "Gateway and HTTPRoute": (
        GATEWAY_API,
        lambda namespace, provider: _serving(namespace, provider, **GATED),
        {
            "gateways.gateway.networking.k8s.io": {
                "/spec/infrastructure": {"labels": {"filled": "yes"}},
                "/metadata/labels/filled": "yes",
            },
            "httproutes.gateway.networking.k8s.io": {
                "/spec/rules/0/timeouts": {"request": "10s"},
                "/metadata/labels/filled": "yes",
            },
        },
    ),
    "PrometheusRule and PodMonitor": (
        PROMETHEUS_OPERATOR,
        lambda namespace, provider: _monitoring(namespace, provider),
        {
            "prometheusrules.monitoring.coreos.com": {
                "/spec/groups/0/limit": 10,
                "/metadata/labels/filled": "yes",
            },
            "podmonitors.monitoring.coreos.com": {
                "/spec/podMetricsEndpoints/0/honorLabels": False,
                "/metadata/labels/filled": "yes",
            },
        },
    ),
}
"""The library's custom resources: their definitions, what makes them, and what is filled in by kind."""


@contextmanager
def defined(source: Source | None) -> Iterator[None]:
    """The cluster has the kinds of `source`, or JobSet."""
    if source is not None:
        with crds(source):
            yield
        return
    file = sources("jobset", "sigs.k8s.io/jobset") / "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"
    had = kubectl("get", "crd", "jobsets.jobset.x-k8s.io", "--ignore-not-found", "--output", "name")
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(file))
    wait = ("wait", "--for=condition=Established", "crd/jobsets.jobset.x-k8s.io", "--timeout=60s")
    eventually(lambda: "condition met" in kubectl(*wait, check=False))
    try:
        yield
    finally:
        if not had:
            kubectl("delete", "--filename", str(file), "--timeout=60s")


@pytest.mark.long
@pytest.mark.parametrize("kind", MADE)
def test_what_is_filled_into_the_librarys_objects_is_neither_a_change_nor_a_replacement(
    new_stack: Any, namespace: str, kind: str
) -> None:
    source, make, filled = MADE[kind]
    stack = new_stack()

    def program(provider: k8s.Provider) -> None:
        make(namespace, provider)

    with defined(source), ExitStack() as policies:
        for each, fields in filled.items():
            plural, _, group = each.partition(".")
            policies.enter_context(filling(namespace, group, plural, fields))
        answers = {each: STATUSES[plural] for each in filled if (plural := each.partition(".")[0]) in STATUSES}
        policies.enter_context(answering(namespace, answers))
        stack.up(program)
        for each in filled:
            for found in objects(each, namespace):
                labels = found["metadata"]["labels"]
                assert "filled" in labels or "scaledobject.keda.sh/name" in labels, each
        stack.unchanged(program)
        stack.refresh()
        stack.unchanged(program)
        stack.destroy()
