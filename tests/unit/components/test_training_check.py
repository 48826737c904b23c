"""The look before a training: is this run published already, or at work elsewhere?"""

import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelops.core.assets import asset

SOURCE = Path(__file__).resolve().parents[3] / "components/modelops/training/assets/check.py"
ALIAS = "/api/2.0/mlflow/registered-models/alias?name=linear&alias=run-1a2b"


class Registry(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow does; what, is the test's to say."""

    answers: list[tuple[int, Any]]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[tuple[str, type[Registry]]]:
    handler = type("Answering", (Registry,), {"answers": [(404, {})], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


def verdict(uri: str, **variables: str) -> tuple[str, str]:
    """What the program says, and what it says on the side."""
    environment = {
        "MLFLOW_TRACKING_URI": uri,
        "MODELOPS_MODEL_NAME": "linear",
        "MODELOPS_ALIAS": "run-1a2b",
        "MODELOPS_REGISTRY_WAIT_SECONDS": "0.3",
        "MODELOPS_CHECK_PAUSE_SECONDS": "0.05",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", asset("training/assets/check.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_a_published_run_is_not_trained_again(registry: tuple[str, type[Registry]]) -> None:
    uri, handler = registry
    handler.answers = [(200, {"model_version": {"version": "3"}})]
    assert verdict(uri)[0] == "published this run is already registered as run-1a2b"
    assert handler.asked == [(ALIAS, None)]


RELATIVE = {"MODELOPS_GATE": '{"mse":{"max":1,"max_delta":0}}', "MODELOPS_SERVING_ALIAS": "live"}


def test_nothing_is_trained_for_a_relative_gate_with_nothing_to_compare_with(
    registry: tuple[str, type[Registry]],
) -> None:
    uri, handler = registry
    assert verdict(uri, **RELATIVE)[0] == (
        "2 no version of linear has the alias live, which the gate's mse.max_delta would compare with: set "
        "first_version for the first version, or make serving_alias the alias that ModelService moves after a rollout"
    )
    assert handler.asked[1][0].endswith("alias?name=linear&alias=live")


def test_a_relative_gate_trains_the_first_version_and_those_that_follow_one(
    registry: tuple[str, type[Registry]],
) -> None:
    uri, handler = registry
    assert verdict(uri, **RELATIVE, MODELOPS_FIRST_VERSION="true")[0] == "train"
    handler.answers = [(404, {}), (200, {"model_version": {"version": "3"}})]
    assert verdict(uri, **RELATIVE)[0] == "train"


@pytest.mark.parametrize("status", [400, 404])
def test_a_run_that_the_registry_does_not_know_is_trained(registry: tuple[str, type[Registry]], status: int) -> None:
    uri, handler = registry
    handler.answers = [(status, {"error_code": "RESOURCE_DOES_NOT_EXIST"})]
    assert verdict(uri)[0] == "train"


def test_a_registry_that_refuses_us_is_wrong_configuration(registry: tuple[str, type[Registry]]) -> None:
    uri, handler = registry
    handler.answers = [(401, {})]
    assert verdict(uri)[0].startswith(f"2 the registry {uri} denies access")


def test_credentials_are_those_of_mlflows_own_clients(registry: tuple[str, type[Registry]]) -> None:
    uri, handler = registry
    verdict(uri, MLFLOW_TRACKING_USERNAME="me", MLFLOW_TRACKING_PASSWORD="secret")
    verdict(uri, MLFLOW_TRACKING_TOKEN="token")
    assert [header for _, header in handler.asked] == ["Basic bWU6c2VjcmV0", "Bearer token"]


def test_a_registry_that_comes_up_late_is_waited_for(registry: tuple[str, type[Registry]]) -> None:
    uri, handler = registry
    handler.answers = [(503, {}), (503, {}), (404, {})]
    assert verdict(uri, MODELOPS_REGISTRY_WAIT_SECONDS="30")[0] == "train"


def test_nothing_is_trained_for_a_registry_that_is_not_there() -> None:
    said = verdict("http://127.0.0.1:9")[0]
    assert said.startswith("1 the registry http://127.0.0.1:9 could not be queried")


def job(name: str, created: str, *, ended: str | None = None, suspended: bool = False) -> dict[str, Any]:
    conditions = [{"type": ended, "status": "True"}] if ended else []
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"suspend": suspended},
        "status": {"conditions": conditions},
    }


@pytest.fixture
def program() -> Any:
    spec = importlib.util.spec_from_file_location("check", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_older_jobs_that_are_still_at_work_are_waited_for(program: Any) -> None:
    jobs = [
        job("older", "2026-01-01T00:00:00Z"),
        job("done", "2026-01-01T00:00:00Z", ended="Complete"),
        job("failed", "2026-01-01T00:00:00Z", ended="Failed"),
        job("suspended", "2026-01-01T00:00:00Z", suspended=True),
        job("own", "2026-01-01T00:00:01Z"),
        job("younger", "2026-01-01T00:00:02Z"),
    ]
    assert program.older_active_jobs("own", jobs) == ["older"]


def test_workers_of_this_job_that_are_done_are_told_from_those_of_others(program: Any) -> None:
    own, other = job("own", "2026-01-01T00:00:01Z"), job("other", "2026-01-01T00:00:00Z")
    other["status"]["completedIndexes"] = "0-2"
    assert program.completed_workers("own", [own, other]) == ""
    own["status"]["completedIndexes"] = "1,3"
    assert program.completed_workers("own", [own, other]) == "1,3"
    assert program.completed_workers("own", []) == ""


def test_of_two_jobs_of_the_same_second_only_one_waits(program: Any) -> None:
    jobs = [job("a", "2026-01-01T00:00:00Z"), job("b", "2026-01-01T00:00:00Z")]
    assert (program.older_active_jobs("a", jobs), program.older_active_jobs("b", jobs)) == ([], ["a"])


def test_the_verdict_is_left_for_the_training_container(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("print('train')")
    arguments = ["/bin/sh", SOURCE.with_suffix(".sh"), tmp_path / "check.py"]
    subprocess.run(
        arguments,
        check=True,
        env={"PATH": f"{Path(sys.executable).parent}:/bin:/usr/bin", "MODELOPS_WORK": str(tmp_path)},
    )
    assert (tmp_path / "checked").read_text() == "train\n"


def test_a_look_that_breaks_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("raise SystemExit(1)")
    arguments = ["/bin/sh", SOURCE.with_suffix(".sh"), tmp_path / "check.py"]
    subprocess.run(
        arguments,
        check=True,
        env={"PATH": f"{Path(sys.executable).parent}:/bin:/usr/bin", "MODELOPS_WORK": str(tmp_path)},
    )
    assert not (tmp_path / "checked").exists()


def test_an_api_server_of_ipv6_is_asked_at_an_address_in_brackets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    for name, value in (
        ("KUBERNETES_SERVICE_HOST", "fd00::1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
        ("MODELOPS_ACCOUNT", str(tmp_path)),
        ("MODELOPS_NAMESPACE", "ml"),
        ("MODELOPS_SAME_RUN", "a=b"),
    ):
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("check", SOURCE)
    assert spec and spec.loader
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    monkeypatch.setattr(check.ssl, "create_default_context", lambda cafile: None)
    asked: list[str] = []

    def get(url: str, *_: object) -> dict[str, list[Any]]:
        asked.append(url)
        return {"items": []}

    monkeypatch.setattr(check, "get", get)
    assert check.same_run_jobs() == []
    assert asked[0].startswith("https://[fd00::1]:443/apis/batch/v1/namespaces/ml/jobs?")
