"""Expressions of the waitFor annotation."""

import pytest

from devkit.pulumi_plugins.kubernetes_provider.awaiting.conditions import holds, parse

_OBJECT = {
    "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
    "spec": {"replicas": 2, "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Bad", "status": "False"}],
    },
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("condition=Ready", True),
        ("condition=ready", True),
        ("condition=Bad", False),
        ("condition=Bad=False", True),
        ("condition=Other", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Pending", False),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.nothing}", False),
        ("jsonpath={.spec.replicas}=2", True),
        ("jsonpath={.spec.ports[1].port}=81", True),
        ("jsonpath={.spec.ports[*].name}=admin", True),
        ('jsonpath={.spec.ports[?(@.name=="http")].port}=80', True),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', True),
        (r"jsonpath={.metadata.labels.app\.kubernetes\.io/name}=x", True),
        ("jsonpath={.metadata.labels['app.kubernetes.io/name']}=x", True),
    ],
)
def test_expressions_hold_or_not(text: str, wanted: bool) -> None:
    assert holds(parse(text), _OBJECT) is wanted


@pytest.mark.parametrize("text", ["Ready", "jsonpath=.status", "jsonpath={}", "jsonpath={.a}b", "jsonpath={range .a}"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
