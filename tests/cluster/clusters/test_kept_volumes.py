"""What holds data: it grows in place, is never replaced by something empty, and is still there for the next stack."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelRegistry
from stacks.models import RegistrySettings
from stacks.namespaces import namespace as stack_namespace
from tests.assets.test_assets import LIBRARY
from tests.cluster.provider.harness import Stack
from tests.cluster.support import create, eventually, forwarded, kubectl, objects, platform_facts
from tests.cluster.training.registry import TINY, platform_image

pytestmark = [pytest.mark.clusters]

Program = Callable[[k8s.Provider], Mapping[str, Any]]
AUTH = {"admin_password": "planted-admin-password"}


def program(namespace: str, opts: Mapping[str, Any] | None = None, **args: Any) -> Program:
    """A registry on a volume, or with `database` on its own server."""
    image = platform_image(platform_facts(), "mlflow_full" if {"database", "auth"} & args.keys() else "mlflow")
    if "database" in args:
        args["database"] = {"image": platform_image(platform_facts(), "postgres"), **args["database"]}

    def build(provider: k8s.Provider) -> Mapping[str, Any]:
        fields: Any = {"namespace": namespace, "image": image, "resources": TINY, **args}
        made = ModelRegistry("registry", fields, pulumi.ResourceOptions(provider=provider, **(opts or {})))
        return {"tracking_uri": made.tracking_uri}

    return build


@pytest.fixture
def stack(namespace: str, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "stack", namespace=namespace)
    yield stack
    stack.destroy(succeed=None)


def claims(namespace: str) -> dict[str, str]:
    """Each claim's size, as it is."""
    found = objects("persistentvolumeclaims", namespace)
    return {claim["metadata"]["name"]: claim["status"].get("capacity", {}).get("storage", "") for claim in found}


def sh(namespace: str, pod: str, script: str) -> str:
    return kubectl("exec", "--namespace", namespace, pod, "--", "sh", "-c", script)


def login(namespace: str, password: str) -> int:
    """MLflow's answer to the admin with that password; 0 for none, of a pod that is just being replaced."""
    with forwarded(namespace, "deploy/registry", 5000) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/2.0/mlflow/users/get?username=admin")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{password}".encode()).decode())
        try:
            return int(urllib.request.urlopen(request, timeout=30).status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def test_a_larger_volume_is_the_same_one_and_so_is_one_of_another_class(stack: Stack, namespace: str) -> None:
    stack.up(program(namespace, storage_size="1Gi"))
    before = claims(namespace)
    assert [*before.values()] == ["1Gi"]
    sh(namespace, "deploy/registry", "echo kept > /mlflow/marker")

    stack.up(program(namespace, storage_size="2Gi", storage_class="another"))

    assert eventually(lambda: claims(namespace) == dict.fromkeys(before, "2Gi"))
    assert sh(namespace, "deploy/registry", "cat /mlflow/marker") == "kept\n"
    stack.unchanged(program(namespace, storage_size="2Gi", storage_class="another"))


@pytest.mark.long
def test_a_smaller_volume_is_refused_in_words(stack: Stack, namespace: str) -> None:
    stack.up(program(namespace, storage_size="2Gi"))
    refused = stack.up(program(namespace, storage_size="1Gi"), succeed=False)
    assert "field can not be less than" in refused.text
    assert [*claims(namespace).values()] == ["2Gi"]


SIZED = """
import os

import pulumi

from modelops.kubernetes.volumes import volume_claim

place, size, made_of = (os.environ[name] for name in ("NAMESPACE", "SIZE", "CLASS"))
volume_claim("kept", place, {}, size, made_of, pulumi.ResourceOptions())
"""
"""Pulumi calls a program back only if that has a process of its own, so this one has."""


@pytest.fixture
def fixed_class() -> Iterator[str]:
    """A storage class whose volumes can't grow."""
    name = f"fixed-{uuid.uuid4().hex[:6]}"
    default = json.loads(kubectl("get", "storageclass", "-o", "json"))["items"][0]
    create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": default["provisioner"],
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": False,
        }
    )
    yield name
    kubectl("delete", "storageclass", name)


def test_another_size_that_the_cluster_refuses_is_told_with_the_claim_the_class_the_sizes_and_the_way_out(
    namespace: str, fixed_class: str, tmp_path: Path
) -> None:
    project = {"name": "sizes", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
    (tmp_path / "Pulumi.yaml").write_text(json.dumps(project))
    (tmp_path / "__main__.py").write_text(SIZED)
    (tmp_path / "backend").mkdir()
    own = {"PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}", "PULUMI_CONFIG_PASSPHRASE": "sizes"}
    environment = {**os.environ, **own, "PYTHONPATH": str(LIBRARY.parent), "NAMESPACE": namespace, "CLASS": fixed_class}

    def run(*words: str, size: str = "1Gi") -> "subprocess.CompletedProcess[str]":
        command = ["pulumi", *words, "--stack", "sizes", "--non-interactive"]
        given = {**environment, "SIZE": size}
        return subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=180)

    def refusal(size: str) -> str:
        done = run("up", "--yes", "--skip-preview", size=size)
        assert done.returncode != 0
        return done.stdout + done.stderr

    run("stack", "init")
    done = run("up", "--yes", "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    [claim] = claims(namespace)
    mounted = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    container = {
        "name": "any",
        "image": "nowhere.invalid/any",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any", "namespace": namespace}}
    create({**pod, "spec": {"securityContext": user, "containers": [container], "volumes": [mounted]}})
    assert eventually(lambda: claims(namespace) == {claim: "1Gi"})

    smaller, larger = refusal("512Mi"), refusal("2Gi")

    volume = f'the volume of the claim "{claim}" (storage class {fixed_class})'
    assert (
        f"{volume} has 1Gi and can't be made smaller, 512Mi: Kubernetes shrinks no volume. Set 1Gi or more" in smaller
    )
    assert "shrinks no volume" in run("preview", size="512Mi").stdout, "so says the plan"
    assert f"{volume} grows from 1Gi to 2Gi. If its class allows no expansion" in larger
    assert f"kubectl patch storageclass {fixed_class}" in larger
    assert "the storageclass that provisions the pvc must support resize" in larger, "the API server's own words"
    again = run("up", "--yes", "--skip-preview")
    assert again.returncode == 0, again.stdout + again.stderr
    assert claims(namespace) == {claim: "1Gi"}, "the volume is as it was"
    kubectl("delete", "pod", "any", "--namespace", namespace, "--force")
    assert run("destroy", "--yes", "--skip-preview").returncode == 0


@pytest.mark.long
def test_the_volume_of_a_database_grows_while_its_server_stays(stack: Stack, namespace: str) -> None:
    def sized(size: str) -> Program:
        return program(namespace, retain_volume=False, database={"storage_size": size})

    def server() -> str:
        return str(objects("statefulsets", namespace)[0]["metadata"]["uid"])

    stack.up(sized("1Gi"))
    first = server()
    sh(namespace, "registry-postgres-0", "echo kept > /data/marker")
    outcome = stack.up(sized("2Gi"))
    assert claims(namespace)["data-registry-postgres-0"] == "2Gi"
    assert server() == first and sh(namespace, "registry-postgres-0", "cat /data/marker") == "kept\n"
    assert "registry-postgres" not in outcome.changed()
    stack.unchanged(sized("2Gi"))
    # Its claim is the StatefulSet's, so it is still there for the next one.
    stack.destroy()
    stack.up(sized("2Gi"))
    assert sh(namespace, "registry-postgres-0", "cat /data/marker") == "kept\n"


@pytest.mark.long
def test_the_password_of_a_protected_registry_rotates_and_its_data_can_t_be_destroyed(
    stack: Stack, namespace: str
) -> None:
    protected = {"protect": True}
    stack.up(program(namespace, protected, auth=AUTH))
    stack.up(program(namespace, protected, auth={"admin_password": "another-password"}))
    assert eventually(lambda: login(namespace, "another-password") == 200)
    assert eventually(lambda: login(namespace, AUTH["admin_password"]) == 401)
    refused = stack.destroy(succeed=False)
    assert "protected" in refused.text
    assert claims(namespace)
    stack.up(program(namespace, {"protect": False}, auth={"admin_password": "another-password"}))


def test_a_destroy_of_what_is_protected_fails_in_its_preview_before_anything_is_gone(
    stack: Stack, namespace: str
) -> None:
    def guarded(protect: bool) -> Program:
        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            def made(name: str, **more: Any) -> k8s.core.v1.ConfigMap:
                metadata = k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace)
                opts = pulumi.ResourceOptions(provider=provider, **more)
                return k8s.core.v1.ConfigMap(name, metadata=metadata, opts=opts)

            made("service", depends_on=[made("data", protect=protect)])
            return {}

        return build

    def there() -> set[str]:
        return {each["metadata"]["name"] for each in objects("configmaps", namespace)} & {"data", "service"}

    stack.up(guarded(True))
    refused = stack.destroy(succeed=False, preview=True)
    assert "protected" in refused.text and there() == {"data", "service"}
    # What docs warn of.
    stack.destroy(succeed=False)
    assert there() == {"data"}
    stack.up(guarded(False))
    assert there() == {"data", "service"}


@pytest.mark.long
def test_a_namespace_stays_with_what_it_keeps_and_the_next_stack_goes_on(
    platform_env: dict[str, str], tmp_path: Path
) -> None:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    stack = Stack(tmp_path / "stack", namespace="default")

    def whole(**args: Any) -> Program:
        settings = RegistrySettings(**args)

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            taking_over = k8s.Provider("namespaces", upsert_existing_objects=True)
            opts = pulumi.ResourceOptions(provider=taking_over)
            made = stack_namespace(name, "restricted", settings, opts=opts)
            return program(made, **args)(provider)  # type: ignore[arg-type]

        return build

    try:
        stack.up(whole())
        [claim] = claims(name)
        sh(name, "deploy/registry", "echo kept > /mlflow/marker")
        stack.destroy()
        assert [*claims(name)] == [claim] and not objects("deployments", name)

        stack.up(whole(claim=claim))

        assert sh(name, "deploy/registry", "cat /mlflow/marker") == "kept\n"
        assert [*claims(name)] == [claim]
        stack.destroy()
        assert [*claims(name)] == [claim]
        # Nothing left to keep: the namespace goes.
        kubectl("delete", "pvc", claim, "-n", name)
        stack.up(whole(retain_volume=False))
        stack.destroy()
        assert eventually(lambda: name not in json.dumps(json.loads(kubectl("get", "namespaces", "-o", "json"))))
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", name, "--wait=false", check=False)
