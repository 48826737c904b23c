"""Each rule: what keeps it, what doesn't, and that what it says is how to mend it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelops_policies import RESOURCE_RULES, STACK_RULES, UNKNOWN, Resource, Rule, plain

RULES = {rule.name: rule for rule in (*RESOURCE_RULES, *STACK_RULES)}
LABELS = {f"app.kubernetes.io/{word}": "x" for word in ("name", "instance", "part-of", "managed-by")}
GOOD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "models", "labels": LABELS},
    "spec": {
        "replicas": 2,
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "web",
                        "image": "registry.example.com/web@sha256:" + "a" * 64,
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {},
                        "livenessProbe": {},
                        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "env": [{"name": "MODELOPS_GATE", "value": '{"mse": {"max": 1.2}}'}],
                    }
                ],
            },
        },
    },
}
BUDGET = Resource(
    "kubernetes:policy/v1:PodDisruptionBudget",
    "web",
    {"metadata": {"namespace": "models"}, "spec": {"selector": {"matchLabels": LABELS}}},
)
CONTAINER = ("spec", "template", "spec", "containers", 0)
POD = ("spec", "template", "spec")


def changed(*path: str | int, value: object) -> dict[str, Any]:
    """The good Deployment with one thing changed; None takes it away."""
    inputs: Any = copy.deepcopy(GOOD)
    place = inputs
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return dict(inputs)


def problems(
    rule: str, inputs: Mapping[str, Any], type_: str = "kubernetes:apps/v1:Deployment", *others: Resource
) -> list[str]:
    resource = Resource(type_, "web", inputs)
    return list(RULES[rule].check(resource, [resource, *others]))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_a_good_deployment_keeps_every_rule(rule: Rule) -> None:
    assert problems(rule.name, GOOD, "kubernetes:apps/v1:Deployment", BUDGET) == []


@pytest.mark.parametrize(
    ("rule", "path", "value", "says"),
    [
        ("image-by-digest", (*CONTAINER, "image"), "web:1.2", "image is 'web:1.2'; name it by digest"),
        ("image-by-digest", (*CONTAINER, "image"), "web", "name it by digest"),
        ("resources-set", (*CONTAINER, "resources"), None, "requests.cpu, requests.memory, limits.memory not set"),
        ("resources-set", (*CONTAINER, "resources", "limits"), None, "limits.memory not set; set them"),
        ("restricted", (*POD, "securityContext"), None, "runAsNonRoot is None; set it to True"),
        ("restricted", (*POD, "securityContext", "seccompProfile"), None, "set it to 'RuntimeDefault'"),
        ("restricted", (*POD, "hostNetwork"), True, "hostNetwork is true; remove it"),
        ("restricted", (*POD, "volumes"), [{"name": "root", "hostPath": {"path": "/"}}], "volume root is a hostPath"),
        ("restricted", (*CONTAINER, "securityContext"), None, "allowPrivilegeEscalation is None; set it to False"),
        ("restricted", (*CONTAINER, "securityContext", "capabilities"), None, "capabilities.drop to ['ALL']"),
        ("restricted", (*CONTAINER, "securityContext", "privileged"), True, "privileged is true; remove it"),
        ("no-default-token", (*POD, "automountServiceAccountToken"), None, "set automountServiceAccountToken to false"),
        ("probes", (*CONTAINER, "livenessProbe"), None, "livenessProbe not set; set both"),
        ("probes", (*CONTAINER, "readinessProbe"), None, "readinessProbe not set"),
        ("training-gate", (*CONTAINER, "env", 0, "value"), "{}", "give TrainingJob a gate"),
        ("retention", (*CONTAINER, "args"), ["--storage.tsdb.path=/data"], "set --storage.tsdb.retention.time"),
        ("labels", ("metadata", "labels"), None, "app.kubernetes.io/managed-by are missing; set them"),
        ("disruption-budget", ("spec", "replicas"), 3, "no PodDisruptionBudget selects its pods; add one"),
    ],
)
def test_what_breaks_a_rule_is_told_with_its_fix(
    rule: str, path: Sequence[str | int], value: object, says: str
) -> None:
    assert any(says in problem for problem in problems(rule, changed(*path, value=value)))


@pytest.mark.parametrize(
    ("kind", "inputs", "says"),
    [
        ("core/v1:Service", {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}, "port 80 of a LoadBalancer"),
        ("networking.k8s.io/v1:Ingress", {"spec": {"rules": []}}, "set spec.tls"),
        ("gateway/v1:Gateway", {"spec": {"listeners": [{"name": "a", "protocol": "HTTP"}]}}, "listener a is HTTP"),
    ],
)
def test_what_is_public_without_tls_is_told(kind: str, inputs: dict[str, Any], says: str) -> None:
    [problem] = problems("public-tls", inputs, f"kubernetes:{kind}")
    assert says in problem


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("core/v1:Service", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}}),
        ("core/v1:Service", {"spec": {"type": "LoadBalancer", "ports": [{"port": 443}]}}),
        ("networking.k8s.io/v1:Ingress", {"spec": {"tls": [{"secretName": "a"}]}}),
        ("gateway/v1:Gateway", {"spec": {"listeners": [{"name": "a", "protocol": "HTTPS"}]}}),
    ],
)
def test_what_is_internal_or_encrypted_keeps_the_rule(kind: str, inputs: dict[str, Any]) -> None:
    assert problems("public-tls", inputs, f"kubernetes:{kind}") == []


def test_every_rule_has_a_case_that_breaks_it() -> None:
    """That none is broken by the good Deployment is tested for each of them above."""
    [cases] = test_what_breaks_a_rule_is_told_with_its_fix.pytestmark
    assert {case[0] for case in cases.args[1]} | {"public-tls"} == set(RULES)


def test_init_containers_are_held_to_the_rules_of_pods() -> None:
    inputs = changed(*POD, "initContainers", value=[{"name": "fetch", "image": "fetch:1"}])
    for rule in ("image-by-digest", "resources-set", "restricted"):
        assert problems(rule, inputs)[0].startswith("fetch: ")


@pytest.mark.parametrize("kind", ["apps/v1:StatefulSet", "batch/v1:Job", "apps/v1:DaemonSet"])
def test_every_kind_that_makes_pods_is_looked_at(kind: str) -> None:
    assert problems("image-by-digest", changed(*CONTAINER, "image", value="web:1"), f"kubernetes:{kind}")


def test_a_cron_jobs_pods_are_looked_at_and_its_history_has_bounds() -> None:
    template = changed(*CONTAINER, "image", value="web:1")["spec"]["template"]
    inputs = {"spec": {"jobTemplate": {"spec": {"template": template}}, "failedJobsHistoryLimit": 1}}
    assert problems("image-by-digest", inputs, "kubernetes:batch/v1:CronJob")
    [problem] = problems("retention", inputs, "kubernetes:batch/v1:CronJob")
    assert "successfulJobsHistoryLimit" in problem


def test_an_account_of_its_own_may_have_a_token() -> None:
    inputs = changed(*POD, "automountServiceAccountToken", value=None)
    inputs["spec"]["template"]["spec"]["serviceAccountName"] = "web"
    assert problems("no-default-token", inputs) == []


def test_a_budget_of_other_pods_or_another_namespace_does_not_count() -> None:
    for change in ({"metadata": {"namespace": "other"}}, {"spec": {"selector": {"matchLabels": {"a": "b"}}}}):
        other = Resource(BUDGET.type, "other", {**BUDGET.inputs, **change})
        assert problems("disruption-budget", GOOD, "kubernetes:apps/v1:Deployment", other)


def test_an_autoscaled_deployment_needs_a_budget_and_a_single_one_does_not() -> None:
    scaler = Resource(
        "kubernetes:autoscaling/v2:HorizontalPodAutoscaler", "web", {"spec": {"scaleTargetRef": {"name": "web"}}}
    )
    unset = changed("spec", "replicas", value=None)
    assert problems("disruption-budget", unset, "kubernetes:apps/v1:Deployment", scaler)
    assert problems("disruption-budget", unset) == []
    assert problems("disruption-budget", changed("spec", "replicas", value=1)) == []


class _NotKnown(Exception):
    pass


class _Preview(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        if super().__getitem__(key) is None:
            raise _NotKnown
        return super().__getitem__(key)


def test_what_a_preview_does_not_know_yet_is_not_judged() -> None:
    assert plain({"a": [_Preview(b=None, c=1)]}, _NotKnown) == {"a": [{"b": UNKNOWN, "c": 1}]}
    for path in (
        (*CONTAINER, "image"),
        (*CONTAINER, "resources"),
        (*CONTAINER, "securityContext"),
        (*POD,),
        ("metadata", "labels"),
    ):
        inputs = changed(*path, value=UNKNOWN)
        for rule in RULES:
            assert problems(rule, inputs, "kubernetes:apps/v1:Deployment", BUDGET) == [], (rule, path)


def test_numbers_are_told_as_they_were_written() -> None:
    assert plain({"port": 80.0, "share": 0.5, "on": True}, _NotKnown) == {"port": 80, "share": 0.5, "on": True}


def test_the_docs_name_every_rule_and_its_level() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "policies.md").read_text()
    for rule in RULES.values():
        assert f"| `{rule.name}` | {rule.level.value} | {rule.description} |" in page
