"""A registry of two pods on one database and one object store: one of them goes, and no request fails."""

import base64
import threading
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.cluster import s3
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl, objects, platform_facts
from tests.cluster.training.registry import ADMIN_PASSWORD, Registry, production_args

pytestmark = [pytest.mark.clusters, pytest.mark.long]


@pytest.fixture
def registry(
    namespace: str, platform_env: dict[str, str], object_store: s3.ObjectStore, tmp_path: Path
) -> Iterator[Registry]:
    stack = Stack(tmp_path / "stack", namespace=namespace)
    args = {**production_args(namespace, platform_facts(), object_store), "replicas": 2}
    del args["backup"]
    made = Registry(namespace, stack, args)
    try:
        stack.up(made.program())
        yield made
    finally:
        stack.destroy(succeed=None)


def servers(namespace: str) -> set[str]:
    """The registry's pods that are ready."""
    return {
        pod["metadata"]["name"]
        for pod in objects("pods", namespace, "--selector=app.kubernetes.io/name=mlflow")
        if "deletionTimestamp" not in pod["metadata"]
        and any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    }


def check_accounts(registry: Registry) -> None:
    """The accounts are the same in every pod."""
    user, password = registry.credentials("reader_secret")
    script = (
        "import base64, os, urllib.request as r;"
        "q = r.Request('http://localhost:5000/api/2.0/mlflow/users/get?username=' + os.environ['U']);"
        "q.add_header('Authorization', 'Basic ' + base64.b64encode("
        "(os.environ['U'] + ':' + os.environ['P']).encode()).decode());"
        "print(r.urlopen(q, timeout=30).status)"
    )
    for pod in servers(registry.namespace):
        command = ("env", f"U={user}", f"P={password}", "python3", "-c", script)
        said = kubectl("exec", "--namespace", registry.namespace, pod, "--container", "mlflow", "--", *command)
        assert said.strip() == "200"


def test_a_lost_pod_and_a_rollout_fail_no_request(registry: Registry) -> None:
    # Both know the accounts: they are in the database.
    credentials = base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()
    url = f"{registry.stack.outputs()['url']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    failed: list[str] = []
    counts = {"answered": 0}
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.1):
            request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answer.read()
                counts["answered"] += 1
            except (OSError, HTTPException) as error:
                failed.append(repr(error))

    before = servers(registry.namespace)
    assert len(before) == 2
    check_accounts(registry)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        lost = min(before)
        kubectl("delete", "pod", lost, "--namespace", registry.namespace, "--wait=true")
        eventually(lambda: len(servers(registry.namespace) - {lost}) == 2, 240)
        old = servers(registry.namespace)
        registry.stack.up(registry.program(allowed_hosts=["other.example.com"]))
        eventually(lambda: not old & servers(registry.namespace), 60)
    finally:
        done.set()
        thread.join()
    assert failed == []
    assert counts["answered"] > 20
    assert len(servers(registry.namespace)) == 2
    registry.stack.unchanged(registry.program(allowed_hosts=["other.example.com"]))
