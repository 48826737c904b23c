"""Reading: get, refresh, import."""

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl, objects


def _robot(provider, labels=None, **options):
    made = k8s.core.v1.ServiceAccount(
        "robot",
        metadata={"name": "robot", "labels": labels or {"a": "1"}},
        opts=ResourceOptions(provider=provider, **options),
    )
    return {"uid": made.metadata["uid"]}


def test_get_reads_an_object_by_namespace_and_name(stack: Stack) -> None:
    kubectl("create", "configmap", "there", "--from-literal=a=1", "--namespace", stack.namespace)

    def program(provider):
        options = ResourceOptions(provider=provider)
        found = k8s.core.v1.ConfigMap.get("found", f"{stack.namespace}/there", opts=options)
        place = k8s.core.v1.Namespace.get("place", stack.namespace, opts=options)
        return {"a": found.data["a"], "phase": place.status["phase"]}

    read = stack.up(program)
    assert stack.outputs() == {"a": "1", "phase": "Active"}
    assert read.operations("found") == ["read"]
    stack.destroy()
    assert objects("configmap", stack.namespace, "--field-selector=metadata.name=there")


def test_a_refresh_of_what_was_only_read_notes_what_names_it(stack: Stack) -> None:
    kubectl("create", "configmap", "there", "--from-literal=a=1", "--namespace", stack.namespace)

    def program(provider):
        options = ResourceOptions(provider=provider)
        k8s.core.v1.ConfigMap.get("found", f"{stack.namespace}/there", opts=options)

    stack.up(program)
    before = stack.state()["found"]
    stack.refresh()
    after = stack.state()["found"]
    named = {"name": "there", "namespace": stack.namespace}
    assert after["inputs"] == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named}
    # Beside the object, its outputs hold these inputs too.
    assert after["outputs"]["data"] == before["outputs"]["data"] == {"a": "1"}
    assert after["outputs"]["metadata"]["uid"] == before["outputs"]["metadata"]["uid"]
    assert stack.up(program).operations("found") == ["read"]
    assert stack.state()["found"]["outputs"]["data"] == {"a": "1"}


def test_get_of_a_missing_object_is_an_error(stack: Stack) -> None:
    def program(provider):
        k8s.core.v1.ConfigMap.get("missing", f"{stack.namespace}/nowhere", opts=ResourceOptions(provider=provider))

    assert "does not exist" in stack.up(program, succeed=False).text


def test_a_refresh_sees_drift_and_the_next_update_repairs_it(stack: Stack) -> None:
    def program(provider):
        return _robot(provider, {"a": "1", "b": "2"})

    stack.up(program)
    kubectl("label", "serviceaccount", "robot", "b-", "--namespace", stack.namespace)
    stack.unchanged(program)
    stack.refresh()
    assert stack.state()["robot"]["inputs"]["metadata"]["labels"] == {"a": "1"}
    preview = stack.preview(program)
    assert preview.changed() == {"robot": ["update"]}
    assert preview.diffs["robot"] == {"metadata.labels.b": "add"}
    stack.up(program)
    found = objects("serviceaccount", stack.namespace, "--field-selector=metadata.name=robot")[0]
    assert found["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_fields_that_others_add_are_no_drift(stack: Stack) -> None:
    stack.up(_robot)
    kubectl("label", "serviceaccount", "robot", "theirs=1", "--namespace", stack.namespace)
    stack.refresh()
    stack.unchanged(_robot)


def test_a_deleted_object_leaves_the_state_and_is_made_again(stack: Stack) -> None:
    stack.up(_robot)
    before = stack.outputs()["uid"]
    kubectl("delete", "serviceaccount", "robot", "--namespace", stack.namespace)
    stack.refresh()
    assert "robot" not in stack.state()
    assert stack.up(_robot).changed() == {"robot": ["create"]}
    assert stack.outputs()["uid"] != before


def test_an_existing_object_is_imported(stack: Stack) -> None:
    kubectl("create", "serviceaccount", "robot", "--namespace", stack.namespace)
    kubectl("label", "serviceaccount", "robot", "a=1", "--namespace", stack.namespace)
    imported = stack.up(lambda provider: _robot(provider, import_=f"{stack.namespace}/robot"), succeed=None)
    assert "import" in imported.operations("robot"), imported.text
    assert imported.ok, imported.text
    assert stack.state()["robot"]["id"] == f"{stack.namespace}/robot"
