"""Server-side apply: ownership of fields, conflicts, and previews by dry run."""

import json
import subprocess

import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations
from tests.cluster.support import kubectl, objects


def kubectl_apply(namespace: str, manifest: dict) -> None:
    done = subprocess.run(
        [*"kubectl apply --server-side --force-conflicts --field-manager=somebody-else -f -".split(), "-n", namespace],
        input=json.dumps(manifest),
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def _labelled(provider, labels, **metadata):
    k8s.core.v1.ServiceAccount(
        "robot", metadata={"name": "robot", "labels": labels, **metadata}, opts=ResourceOptions(provider=provider)
    )


def test_objects_have_a_field_manager_and_others_keep_their_fields(stack: Stack) -> None:
    stack.up(lambda provider: _labelled(provider, {"a": "1"}))
    # Fields of kubectl itself would become the provider's: to it, kubectl is the same user by another way.
    kubectl("label", "serviceaccount", "robot", "theirs=kept", "--field-manager=robot-owner", "-n", stack.namespace)
    stack.up(lambda provider: _labelled(provider, {"b": "2"}))
    found = json.loads(
        kubectl("get", "serviceaccount", "robot", "-n", stack.namespace, "-o", "json", "--show-managed-fields")
    )
    assert found["metadata"]["labels"] == {"theirs": "kept", "b": "2"}
    mine = [entry for entry in found["metadata"]["managedFields"] if entry["operation"] == "Apply"]
    assert len(mine) == 1 and mine[0]["manager"].startswith("pulumi-kubernetes")


def test_what_kubectl_wrote_is_taken_over_by_an_update(stack: Stack) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=theirs", "--namespace", stack.namespace)

    def program(labels, **options):
        def run(provider):
            k8s.core.v1.ConfigMap(
                "settings",
                metadata={"name": "settings", "labels": labels},
                data={"a": "theirs"},
                opts=ResourceOptions(provider=provider, **options),
            )

        return run

    kubectl("label", "configmap", "settings", "b=theirs", "--namespace", stack.namespace)
    stack.up(program({"b": "theirs"}, import_=f"{stack.namespace}/settings"))
    stack.up(program({"c": "mine"}))
    found = objects("configmap", stack.namespace, "--field-selector=metadata.name=settings")[0]
    assert found["metadata"]["labels"] == {"c": "mine"}


def test_a_conflict_is_an_error_and_force_takes_the_field_over(stack: Stack) -> None:
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "labels": {"a": "theirs"}}}
    kubectl_apply(stack.namespace, manifest)
    taking_over = {"upsert_existing_objects": True}
    refused = stack.up(lambda provider: _labelled(provider, {"a": "mine"}), succeed=False, **taking_over)
    assert "conflict" in refused.text and "somebody-else" in refused.text
    forced = annotations(patchForce="true")
    stack.up(lambda provider: _labelled(provider, {"a": "mine"}, annotations=forced), **taking_over)
    found = objects("serviceaccount", stack.namespace, "--field-selector=metadata.name=robot")[0]
    assert found["metadata"]["labels"] == {"a": "mine"}


def test_a_conflict_on_update_keeps_the_object_and_the_next_update_tries_again(stack: Stack) -> None:
    stack.up(lambda provider: _labelled(provider, {"a": "1"}))
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "labels": {"a": "theirs"}}}
    kubectl_apply(stack.namespace, manifest)
    refused = stack.up(lambda provider: _labelled(provider, {"a": "2"}), succeed=False)
    assert "conflict" in refused.text
    forced = annotations(patchForce="true")
    tried = stack.up(lambda provider: _labelled(provider, {"a": "2"}, annotations=forced))
    assert tried.changed() == {"robot": ["update"]}


def test_a_preview_asks_the_server_and_writes_nothing(stack: Stack) -> None:
    def program(port):
        def run(provider):
            service = k8s.core.v1.Service(
                "web",
                metadata={"name": "web"},
                spec={"selector": {"app": "x"}, "ports": [{"port": port}]},
                opts=ResourceOptions(provider=provider),
            )
            return {"affinity": service.spec["session_affinity"]}

        return run

    wrong = stack.preview(program(70000), succeed=False)
    assert "70000" in wrong.text
    right = stack.preview(program(80))
    # A default that only the server knows is there in the preview.
    assert 'affinity: "None"' in right.text
    assert not kubectl("get", "service", "--namespace", stack.namespace, "--output", "name")


def test_a_preview_goes_on_with_unknown_values_and_missing_namespaces(stack: Stack) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        namespace = k8s.core.v1.Namespace("place", opts=options)
        source = k8s.core.v1.ConfigMap("source", metadata={"namespace": namespace.metadata["name"]}, opts=options)
        unknown = source.id.apply(lambda made: f"x-{made.split('/')[-1]}")
        k8s.core.v1.ConfigMap(
            "sink",
            metadata={"namespace": namespace.metadata["name"], "labels": {"known": "yes", "unknown": unknown}},
            data={"from": unknown},
            opts=options,
        )
        k8s.batch.v1.Job(
            "job",
            metadata={"namespace": namespace.metadata["name"]},
            spec={"template": {"spec": {"restart_policy": "Never", "containers": [{"name": "c", "image": unknown}]}}},
            opts=options,
        )

    preview = stack.preview(program)
    assert {name for name in preview.changed() if name not in (f"{stack.project}-test", "cluster")} == {
        "job",
        "place",
        "sink",
        "source",
    }


def test_a_preview_of_an_unknown_change_to_an_immutable_field_shows_the_replacement(stack: Stack) -> None:
    def program(version):
        def run(provider):
            options = ResourceOptions(provider=provider)
            source = k8s.core.v1.ConfigMap("source", data={"version": version}, opts=options)
            k8s.core.v1.ConfigMap("sink", data={"from": source.id}, opts=options)

        return run

    stack.up(program("1"))
    preview = stack.preview(program("2"))
    assert "replace" in preview.operations("source") and "replace" in preview.operations("sink")


def test_ignored_fields_belong_to_others(stack: Stack) -> None:
    def program(replicas, minimum=0):
        def run(provider):
            k8s.apps.v1.Deployment(
                "web",
                metadata={"name": "web", "annotations": annotations(skipAwait="true")},
                spec={
                    "replicas": replicas,
                    "min_ready_seconds": minimum,
                    "selector": {"match_labels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "c", "image": "nowhere.invalid/none"}]},
                    },
                },
                opts=ResourceOptions(provider=provider, ignore_changes=["spec.replicas"]),
            )

        return run

    stack.up(program(0))
    stack.unchanged(program(3))
    kubectl("scale", "deployment/web", "--replicas=2", "--namespace", stack.namespace)
    stack.up(program(3, minimum=1))
    found = objects("deployment", stack.namespace)[0]
    assert found["spec"]["replicas"] == 2 and found["spec"]["minReadySeconds"] == 1


def test_outputs_are_the_live_object(stack: Stack) -> None:
    def program(provider):
        service = k8s.core.v1.Service(
            "web",
            spec={"cluster_ip": "None", "selector": {"app": "x"}, "ports": [{"port": 80}]},
            opts=ResourceOptions(provider=provider),
        )
        return {
            "uid": service.metadata["uid"],
            "protocol": service.spec["ports"][0]["protocol"],
            "status": pulumi.Output.json_dumps(service.status),
            "namespace": service.metadata["namespace"],
            "id": service.id,
        }

    stack.up(program)
    outputs = stack.outputs()
    live = objects("service", stack.namespace)[0]
    assert outputs["uid"] == live["metadata"]["uid"]
    assert outputs["protocol"] == "TCP" and outputs["namespace"] == stack.namespace
    assert outputs["id"] == f"{stack.namespace}/{live['metadata']['name']}"
    assert "load_balancer" in outputs["status"] or "loadBalancer" in outputs["status"]
