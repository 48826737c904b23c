"""A registry on PostgreSQL and an object store, with accounts and back-ups, on the real cluster.

The tests share one registry; what some of them begin with, a published model and a back-up, is made once.
"""

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import s3
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl, platform_facts
from tests.cluster.training.registry import ADMIN_PASSWORD, NAME, Registry, production_args
from tests.models import write_model
from tests.runtime import run_module

pytestmark = [pytest.mark.training, pytest.mark.long]

MODEL = "kept"
NEW_PASSWORD = "planted-new-password"
CHANGED = {"auth": {"admin_password": NEW_PASSWORD}}
SERVING = {"name": MODEL, "alias": "serving", "version": "1"}


@pytest.fixture(scope="module")
def registry(
    platform_env: dict[str, str], object_store: s3.ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    namespace = f"registry-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    stack = Stack(tmp_path_factory.mktemp("registry") / "stack", namespace=namespace)
    try:
        args = production_args(namespace, platform_facts(), object_store)
        made = Registry(namespace, stack, args)
        stack.up(made.program())
        yield made
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def ask(registry: Registry, path: str, account: tuple[str, str] | None, body: Any = None) -> tuple[int, Any]:
    """Status and answer of MLflow's API."""
    headers = {"Content-Type": "application/json"}
    if account is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    url = f"{registry.stack.outputs()['url']}/api/2.0/mlflow/{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def fetched(registry: Registry, target: Path) -> Any:
    """`modelops-fetch` with the account for services."""
    user, password = registry.credentials("reader_secret")
    return run_module(
        "modelops_runtime fetch",
        MODELOPS_MODEL_URI=f"models:/{MODEL}@run-abc",
        MODELOPS_MODEL_DIR=target,
        MLFLOW_TRACKING_URI=registry.stack.outputs()["url"],
        MLFLOW_TRACKING_USERNAME=user,
        MLFLOW_TRACKING_PASSWORD=password,
    )


@pytest.fixture(scope="module")
def published(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that is in the registry as its version 1."""
    output = tmp_path_factory.mktemp("training") / "output"
    write_model(output / "model", name=MODEL)
    (output / "metrics.json").write_text('{"mse": 0.25}')
    user, password = registry.credentials("writer_secret")
    done = run_module(
        "modelops_runtime publish",
        MODELOPS_RUN_ID="abc",
        MODELOPS_MODEL_NAME=MODEL,
        MODELOPS_OUTPUT_DIR=output,
        MLFLOW_TRACKING_URI=registry.stack.outputs()["url"],
        MLFLOW_TRACKING_USERNAME=user,
        MLFLOW_TRACKING_PASSWORD=password,
    )
    assert done.returncode == 0, done.stderr
    return output / "model"


@pytest.fixture(scope="module")
def backed_up(registry: Registry, published: Path) -> str:
    """What the Job said that backed everything up, with a version that serves."""
    assert ask(registry, "registered-models/alias", registry.credentials("writer_secret"), SERVING)[0] == 200
    return registry.run_job(f"{NAME}-backup", "backup-now")


def test_an_unchanged_up_changes_nothing(registry: Registry) -> None:
    registry.stack.unchanged(registry.program())


def test_nobody_gets_in_without_a_password(registry: Registry) -> None:
    registry.stack.up(registry.program())
    search = "experiments/search?max_results=5"
    assert ask(registry, search, None)[0] == 401
    assert ask(registry, search, ("admin", "wrong"))[0] == 401
    for account in (
        ("admin", ADMIN_PASSWORD),
        registry.credentials("writer_secret"),
        registry.credentials("reader_secret"),
    ):
        assert ask(registry, search, account)[0] == 200


def test_a_model_goes_through_the_proxy_into_the_object_store_and_back(
    registry: Registry, object_store: s3.ObjectStore, published: Path, tmp_path: Path
) -> None:
    kept = object_store.objects("mlflow/")
    assert any(key.endswith("/artifacts/model.tflite") for key in kept), kept

    done = fetched(registry, tmp_path / "fetched")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fetched" / "model.tflite").read_bytes() == (published / "model.tflite").read_bytes()


@pytest.mark.usefixtures("published")
def test_who_may_only_read_changes_nothing(registry: Registry) -> None:
    assert ask(registry, "registered-models/alias", registry.credentials("reader_secret"), SERVING)[0] == 403
    assert ask(registry, "registered-models/alias", registry.credentials("writer_secret"), SERVING)[0] == 200


@pytest.mark.usefixtures("published")
def test_runs_and_versions_are_in_postgresql(registry: Registry) -> None:
    count = "import os, sqlalchemy as s; e = s.create_engine(os.environ['MLFLOW_BACKEND_STORE_URI']); "
    count += "print(e.dialect.name, e.connect().execute(s.text('select count(*) from model_versions')).scalar())"
    assert registry.in_server("python3", "-c", count).split() == ["postgresql", "1"]


def test_what_a_backup_holds_comes_back_after_everything_was_lost(
    registry: Registry, object_store: s3.ObjectStore, backed_up: str, tmp_path: Path
) -> None:
    assert "dumped the database into database/" in backed_up

    object_store.remove("mlflow")
    drop = "drop schema public cascade; create schema public"
    lose = "import os, sqlalchemy as s; e = s.create_engine(os.environ['MLFLOW_BACKEND_STORE_URI']).connect(); "
    registry.in_server("python3", "-c", f"{lose}e.execute(s.text('{drop}')); e.commit()")
    restart(registry)
    assert fetched(registry, tmp_path / "lost").returncode == 1

    said = registry.run_job(f"{NAME}-restore", "restore-now")
    assert "loaded the database from /backup/database/" in said
    restart(registry)
    done = fetched(registry, tmp_path / "restored")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "restored" / "model.tflite").exists()
    serving = f"registered-models/alias?name={MODEL}&alias=serving"
    assert ask(registry, serving, registry.credentials("reader_secret"))[1]["model_version"]["version"] == "1"


def restart(registry: Registry) -> None:
    """The server again, with whatever its database holds now."""
    for action in ("restart", "status"):
        limit = ["--timeout=420s"] if action == "status" else []
        kubectl("rollout", action, f"deployment/{NAME}", "--namespace", registry.namespace, *limit)
    eventually(lambda: ask(registry, "experiments/search?max_results=1", ("admin", "x"))[0] == 401, timeout_seconds=120)


def test_changed_passwords_hold_after_the_next_up(registry: Registry) -> None:
    database = next(urn for urn in urns(registry) if urn.endswith(f"Secret::{NAME}-postgres"))
    before = registry.credentials("writer_secret")
    registry.stack.up(registry.program(**CHANGED), "--replace", database)
    search = "experiments/search?max_results=5"
    # The new pod is ready; the nodes may take a moment to lead there.
    eventually(lambda: ask(registry, search, ("admin", NEW_PASSWORD))[0] == 200, timeout_seconds=120)
    assert ask(registry, search, ("admin", ADMIN_PASSWORD))[0] == 401
    assert ask(registry, search, before)[0] == 200
    registry.stack.unchanged(registry.program(**CHANGED))


def urns(registry: Registry) -> list[str]:
    return [resource["urn"] for resource in json.loads(registry.stack.state_text())["deployment"]["resources"]]


@pytest.mark.usefixtures("backed_up")
def test_no_password_stands_anywhere_in_clear(registry: Registry, object_store: s3.ObjectStore) -> None:
    registry.stack.up(registry.program(**CHANGED))
    planted = [ADMIN_PASSWORD, NEW_PASSWORD, object_store.secret_key]
    planted += [registry.credentials(output)[1] for output in ("writer_secret", "reader_secret")]
    planted += [base64.b64encode(word.encode()).decode() for word in planted]
    kinds = "pods,deployments,statefulsets,cronjobs,jobs,configmaps,services,networkpolicies,events"
    places = {
        "state": registry.stack.state_text(),
        "outputs": registry.stack._command("stack", "output", "--json", "--stack", "test"),
        "logs": registry.logs(),
        "objects": kubectl("get", kinds, "--namespace", registry.namespace, "--output", "yaml"),
    }
    assert len(places["logs"]) > 500
    assert {(place, word) for place, text in places.items() for word in planted if word in text} == set()
