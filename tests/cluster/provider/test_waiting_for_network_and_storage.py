"""Waiting for addresses, endpoints, volumes and whatever a program spells out."""

import json
import os
import threading
import time
from pathlib import Path

import pulumi_kubernetes as k8s
import pytest
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations, container, ready_when, workload
from tests.cluster.support import kubectl, objects


def _service(provider, name="web", *, selector=None, note=None, **spec):
    return k8s.core.v1.Service(
        name,
        metadata={"name": name, "annotations": note or {}},
        spec={"selector": selector or {"app": name}, "ports": [{"port": 80, "target_port": 8080}], **spec},
        opts=ResourceOptions(provider=provider),
    )


def test_a_service_is_done_when_its_pods_are_ready(stack: Stack, test_image: str) -> None:
    def program(provider):
        after = "test $(( $(date +%s) - $(stat -c %Y /proc/1) )) -ge 3"
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "annotations": annotations(skipAwait="true")},
            spec=workload("web", [container(test_image, readiness_probe=ready_when(after))]),
            opts=ResourceOptions(provider=provider),
        )
        _service(provider)

    stack.up(program)
    assert objects("deployment", stack.namespace)[0]["status"].get("readyReplicas") == 1
    stack.unchanged(program)


def test_a_service_whose_pods_never_get_ready_times_out(stack: Stack, test_image: str) -> None:
    def program(provider):
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "annotations": annotations(skipAwait="true")},
            spec=workload("web", [container(test_image, readiness_probe=ready_when("false"))]),
            opts=ResourceOptions(provider=provider),
        )
        _service(provider, note=annotations(timeoutSeconds="5"))

    failed = stack.up(program, succeed=False)
    assert "web" in failed.text and "Pods" in failed.text and stack.state()["web"]["id"]


def test_headless_and_selectorless_services_are_done_at_once(stack: Stack) -> None:
    def program(provider):
        note = annotations(timeoutSeconds="3")
        _service(provider, "headless", cluster_ip="None", note=note)
        k8s.core.v1.Service(
            "by-hand",
            metadata={"name": "by-hand", "annotations": note},
            spec={"ports": [{"port": 80}]},
            opts=ResourceOptions(provider=provider),
        )
        outside = {"type": "ExternalName", "external_name": "example.invalid"}
        k8s.core.v1.Service(
            "outside",
            metadata={"name": "outside", "annotations": note},
            spec=outside,
            opts=ResourceOptions(provider=provider),
        )

    stack.up(program)


def test_a_load_balancer_is_done_when_it_has_an_address(
    stack: Stack, test_image: str, platform_env: dict[str, str]
) -> None:
    facts = platform_env.get("MODELOPS_PLATFORM") or os.environ.get("MODELOPS_PLATFORM")
    if facts and not json.loads(Path(facts).read_text()).get("load_balancer"):
        pytest.skip("this cluster gives LoadBalancer Services no address")

    def program(provider):
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web"},
            spec=workload("web", [container(test_image)]),
            opts=ResourceOptions(provider=provider),
        )
        service = _service(provider, type="LoadBalancer")
        return {"address": service.status["load_balancer"]["ingress"][0]}

    stack.up(program)
    assert any(stack.outputs()["address"].values())
    stack.unchanged(program)


def test_a_load_balancer_without_an_address_times_out_unless_skipped(stack: Stack) -> None:
    def program(note):
        def run(provider):
            # No controller feels responsible for this class.
            _service(provider, type="LoadBalancer", load_balancer_class="nobody.invalid/none", note=note)

        return run

    stack.up(program(annotations(skipAwait="true")))
    stack.destroy()
    failed = stack.up(program(annotations(timeoutSeconds="3")), succeed=False)
    assert "IP address" in failed.text


def test_an_ingress_waits_for_an_address_unless_skipped(stack: Stack) -> None:
    def program(note):
        def run(provider):
            backend = {"service": {"name": "web", "port": {"number": 80}}}
            k8s.networking.v1.Ingress(
                "edge",
                metadata={"name": "edge", "annotations": note},
                spec={
                    "ingress_class_name": "nobody",
                    "rules": [{"http": {"paths": [{"path": "/", "path_type": "Prefix", "backend": backend}]}}],
                },
                opts=ResourceOptions(provider=provider),
            )

        return run

    failed = stack.up(program(annotations(timeoutSeconds="4")), succeed=False)
    assert "edge" in failed.text and "timed out" in failed.text
    stack.up(program(annotations(skipAwait="true")))
    stack.unchanged(program(annotations(skipAwait="true")))


def test_a_claim_that_waits_for_a_consumer_is_done_while_pending(cluster_wide_stack: Stack, namespace: str) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        late = k8s.storage.v1.StorageClass(
            "late",
            provisioner="nobody.invalid/none",
            volume_binding_mode="WaitForFirstConsumer",
            opts=options,
        )
        claim = k8s.core.v1.PersistentVolumeClaim(
            "data",
            metadata={"namespace": namespace},
            spec={
                "access_modes": ["ReadWriteOnce"],
                "storage_class_name": late.metadata["name"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
            opts=options,
        )
        return {"phase": claim.status["phase"]}

    began = time.monotonic()
    cluster_wide_stack.up(program)
    assert cluster_wide_stack.outputs() == {"phase": "Pending"} and time.monotonic() - began < 60
    cluster_wide_stack.unchanged(program)


def test_a_claim_is_done_when_it_is_bound(cluster_wide_stack: Stack, namespace: str) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        volume = k8s.core.v1.PersistentVolume(
            "disk",
            spec={
                "capacity": {"storage": "1Mi"},
                "access_modes": ["ReadWriteOnce"],
                "host_path": {"path": "/nowhere"},
                "storage_class_name": "by-hand",
                "claim_ref": {"namespace": namespace, "name": "data"},
            },
            opts=options,
        )
        claim = k8s.core.v1.PersistentVolumeClaim(
            "data",
            metadata={"namespace": namespace, "name": "data"},
            spec={
                "access_modes": ["ReadWriteOnce"],
                "storage_class_name": "by-hand",
                "volume_name": volume.metadata["name"],
                "resources": {"requests": {"storage": "1Mi"}},
            },
            opts=options,
        )
        return {"phase": claim.status["phase"]}

    cluster_wide_stack.up(program)
    assert cluster_wide_stack.outputs() == {"phase": "Bound"}


def test_wait_for_a_field_and_a_condition(stack: Stack) -> None:
    def program(note):
        def run(provider):
            k8s.core.v1.ConfigMap(
                "signal",
                metadata={"name": "signal", "annotations": note},
                data={"here": "yes"},
                opts=ResourceOptions(provider=provider),
            )

        return run

    reachable = annotations(waitFor=json.dumps(["jsonpath={.data.here}=yes", "jsonpath={.metadata.labels.go}"]))

    def answer() -> None:
        for _ in range(100):
            time.sleep(0.3)
            kubectl("label", "configmap", "signal", "go=on", "--namespace", stack.namespace, check=False)

    threading.Thread(target=answer, daemon=True).start()
    stack.up(program(reachable))
    missing = annotations(waitFor="condition=Never", timeoutSeconds="3")
    failed = stack.up(program(missing), succeed=False)
    assert "signal" in failed.text and stack.state()["signal"]["initErrors"]
    wrong = stack.up(program(annotations(waitFor="whatever")), succeed=False)
    assert "jsonpath=" in wrong.text
