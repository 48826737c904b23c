"""What the command says that a killed update left."""

import io
from typing import Any

import pytest

from modelops.kubernetes import leftovers as command
from modelops.kubernetes.leftovers import leftovers


def found(name: str, component: str = "train", kind: str = "Job", **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": component, "app.kubernetes.io/part-of": "modelops"}
    return {"kind": kind, "metadata": {"name": name, "namespace": "ml", "labels": labels, **metadata}}


def state(*names: str, component: str = "train") -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": component}
    of_kubernetes = [
        {"type": "kubernetes:batch/v1:Job", "id": f"ml/{name}", "inputs": {"metadata": {"labels": labels}}}
        for name in names
    ]
    return {"deployment": {"resources": [{"type": "pulumi:pulumi:Stack"}, *of_kubernetes]}}


@pytest.mark.parametrize(
    ("objects", "left"),
    [
        ([found("train-1")], []),
        ([found("train-1"), found("train-2")], ["job/train-2"]),
        ([found("train-1"), found("train-c", kind="ConfigMap")], ["configmap/train-c"]),
        # Another stack's, which may share the namespace.
        ([found("other-1", component="other")], []),
        # A CronJob's: it goes with that.
        ([found("train-2", ownerReferences=[{"kind": "CronJob"}])], []),
    ],
    ids=["known", "unknown", "of another kind", "of another component", "controlled"],
)
def test_what_the_state_does_not_know_of_its_components_is_left(objects: list[dict[str, Any]], left: list[str]) -> None:
    assert [*leftovers(state("train-1"), objects)] == left


def test_an_empty_state_knows_of_no_components() -> None:
    assert [*leftovers({"deployment": {}}, [found("train-1")])] == []


def test_anything_but_a_state_is_refused_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no stack"))
    with pytest.raises(SystemExit, match="must be what `pulumi stack export` prints"):
        command.main(["--namespace", "ml"])
