"""Which changes need a new object, kind by kind."""

import base64

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations

_IMAGE = "nowhere.invalid/none"


def _pods(labels, image=_IMAGE):
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}


def _objects(provider, *, fixed, loose):
    """One object of each kind. `fixed` goes into a field that can't change in place, `loose` into one that can.

    Where the server's word for a fixed field is not "immutable", the object has no name: a preview could not try the
    replacement under the name of the old one.
    """
    options = ResourceOptions(provider=provider)
    note = {"annotations": annotations(skipAwait="true"), "labels": {"loose": loose}}

    def meta(name):
        return {"name": name, **note}

    labels = {"app": fixed}
    k8s.apps.v1.Deployment(
        "deployment",
        metadata=meta("a"),
        spec={"selector": {"match_labels": labels}, "template": _pods(labels), "min_ready_seconds": len(loose)},
        opts=options,
    )
    k8s.apps.v1.DaemonSet(
        "daemonset",
        metadata=meta("a"),
        spec={"selector": {"match_labels": labels}, "template": _pods(labels), "min_ready_seconds": len(loose)},
        opts=options,
    )
    k8s.apps.v1.StatefulSet(
        "statefulset",
        metadata=note,
        spec={
            "service_name": fixed,
            "replicas": 0,
            "selector": {"match_labels": {"app": "s"}},
            "template": _pods({"app": "s"}, f"{_IMAGE}:{loose}"),
        },
        opts=options,
    )
    k8s.batch.v1.Job(
        "job",
        metadata=meta("a"),
        spec={
            "suspend": True,
            "ttl_seconds_after_finished": len(loose),
            "template": {
                "spec": {"restart_policy": "Never", "containers": [{"name": "c", "image": f"{_IMAGE}:{fixed}"}]}
            },
        },
        opts=options,
    )
    k8s.core.v1.Secret(
        "secret", metadata=meta("a"), data={"a": base64.b64encode(fixed.encode()).decode()}, opts=options
    )
    k8s.core.v1.ConfigMap("configmap", metadata=meta("a"), data={"a": fixed}, opts=options)
    k8s.core.v1.PersistentVolumeClaim(
        "claim",
        metadata=note,
        spec={
            "access_modes": ["ReadWriteOnce"],
            "storage_class_name": f"none-{fixed}",
            "resources": {"requests": {"storage": "1Gi"}},
        },
        opts=options,
    )
    k8s.rbac.v1.RoleBinding(
        "rolebinding",
        metadata=note,
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": fixed},
        subjects=[{"kind": "ServiceAccount", "name": loose}],
        opts=options,
    )
    k8s.rbac.v1.Role(
        "role",
        metadata={"name": f"{fixed}-role", **note},
        rules=[{"api_groups": [""], "resources": [loose], "verbs": ["get"]}],
        opts=options,
    )
    k8s.core.v1.Service(
        "service",
        metadata={"name": f"{fixed}-service", **note},
        spec={"selector": {"app": loose}, "ports": [{"port": 80}]},
        opts=options,
    )


_NAMES = "deployment daemonset statefulset job secret configmap claim rolebinding role service".split()


def test_changes_of_immutable_fields_replace_and_others_update(stack: Stack) -> None:
    stack.up(lambda provider: _objects(provider, fixed="one", loose="x"))
    updated = stack.preview(lambda provider: _objects(provider, fixed="one", loose="xy"))
    assert updated.changed() == {name: ["update"] for name in sorted(_NAMES)}
    replaced = stack.preview(lambda provider: _objects(provider, fixed="two", loose="x"))
    assert {name for name in _NAMES if "replace" in replaced.operations(name)} == set(_NAMES)
    done = stack.up(lambda provider: _objects(provider, fixed="one", loose="xy"))
    assert done.changed() == {name: ["update"] for name in sorted(_NAMES)}


def test_cluster_wide_kinds_replace_and_update(cluster_wide_stack: Stack, namespace: str) -> None:
    def program(fixed, loose):
        def run(provider):
            options = ResourceOptions(provider=provider)
            k8s.storage.v1.StorageClass(
                "class",
                metadata={"name": namespace, "labels": {"loose": loose}},
                provisioner=f"{fixed}.invalid/none",
                opts=options,
            )
            k8s.rbac.v1.ClusterRoleBinding(
                "binding",
                metadata={"name": namespace, "labels": {"loose": loose}},
                role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": fixed},
                opts=options,
            )
            k8s.rbac.v1.ClusterRole(
                "role",
                metadata={"name": f"{namespace}-{fixed}"},
                rules=[{"api_groups": [""], "resources": [loose], "verbs": ["get"]}],
                opts=options,
            )

        return run

    names = ("class", "binding", "role")
    cluster_wide_stack.up(program("one", "x"))
    updated = cluster_wide_stack.preview(program("one", "y"))
    assert updated.changed() == {name: ["update"] for name in sorted(names)}
    replaced = cluster_wide_stack.up(program("two", "x"))
    assert replaced.changed()["class"] == ["delete-replaced", "replace", "create-replacement"]
    assert all("replace" in replaced.operations(name) for name in names)


def test_replace_on_changes_makes_any_field_immutable(stack: Stack) -> None:
    def program(mode):
        def run(provider):
            k8s.batch.v1.Job(
                "job",
                metadata={"annotations": annotations(skipAwait="true")},
                spec={
                    "suspend": True,
                    "completions": 2,
                    "completion_mode": mode,
                    "template": {"spec": {"restart_policy": "Never", "containers": [{"name": "c", "image": _IMAGE}]}},
                },
                opts=ResourceOptions(provider=provider, replace_on_changes=["spec.completionMode"]),
            )

        return run

    stack.up(program("NonIndexed"))
    assert "replace" in stack.up(program("Indexed")).operations("job")
