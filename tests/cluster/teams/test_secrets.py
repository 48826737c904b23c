"""After `up`, no secret stands anywhere in clear: planted ones, and those that the components made up."""

import base64
import json
import subprocess

import pytest

from tests.cluster.support import kubectl, objects
from tests.cluster.teams.environments import MARKS, PLANTED, Environment, passwords

pytestmark = [pytest.mark.teams, pytest.mark.long]


@pytest.fixture(scope="module")
def staging(staging_and_prod: tuple[Environment, Environment]) -> Environment:
    return staging_and_prod[0]


@pytest.fixture(scope="module")
def secrets(staging: Environment) -> set[str]:
    """In clear and as Kubernetes would write them."""
    plain = {*MARKS, *passwords(staging.namespace), *passwords(f"{staging.namespace}-monitoring")}
    assert PLANTED["registry_admin_password"] in plain
    # Passwords of writer and reader, and the key of MLflow's sessions.
    assert len(plain) >= len(MARKS) + 3
    return plain | {base64.b64encode(value.encode()).decode() for value in plain}


_DATABASES = """
import base64, pathlib
found = [path.read_bytes() for path in pathlib.Path("/mlflow").glob("*.db*")]
print(base64.b64encode(b"".join(found)).decode())
"""
"""What is behind MLflow: its database, and that of its accounts."""


def leaks(text: str, secrets: set[str]) -> list[str]:
    """The beginnings of the secrets in a text: a failing test must not show the rest."""
    assert text, "nothing to look at"
    return [f"{value[:8]}…" for value in secrets if value in text]


def test_the_planted_ones_have_arrived(staging: Environment) -> None:
    """Else all that follows would say nothing."""
    assert kubectl("get", "secrets", "--namespace", staging.namespace, "--output=name")
    values = {
        base64.b64decode(value).decode(errors="replace")
        for namespace in (staging.namespace, f"{staging.namespace}-monitoring")
        for secret in objects("secrets", namespace)
        for value in (secret.get("data") or {}).values()
    }
    text = "\n".join(values)
    assert "planted-admin-9f2c71d4" in text and "planted-hook-c4417e6b" in text


def test_the_state_has_none(staging: Environment, secrets: set[str]) -> None:
    assert leaks(staging.pulumi("stack", "export").stdout, secrets) == []
    files = [path for path in (staging.project / "backend").rglob("*") if path.is_file()]
    text = "\n".join(path.read_text(errors="replace") for path in files)
    assert "modelops-dev" in text or staging.namespace in text
    assert leaks(text, secrets) == []
    assert leaks(staging.config_file.read_text(), secrets) == []


def test_outputs_have_none(staging: Environment, secrets: set[str]) -> None:
    shown = staging.pulumi("stack", "output", "--json", "--show-secrets").stdout
    assert set(json.loads(shown)) >= {"predict_url", "release", "tracking_uri"}
    assert leaks(shown, secrets) == []


def test_what_pulumi_says_has_none(staging: Environment, secrets: set[str]) -> None:
    first = staging.first_up
    assert first is not None
    assert leaks(first.stdout + first.stderr, secrets) == []
    changed = ("preview", "--diff", "--config", "modelops:image_registry_username=another")
    for arguments in (("preview", "--json"), ("preview", "--diff"), changed, ("stack", "--show-urns")):
        done = staging.pulumi(*arguments)
        assert leaks(done.stdout + done.stderr, secrets) == [], arguments


def test_objects_in_the_cluster_have_none_but_secrets(staging: Environment, secrets: set[str]) -> None:
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    asked = ",".join(kind for kind in kinds if kind not in ("secrets", "events", "events.events.k8s.io"))
    for namespace in (staging.namespace, f"{staging.namespace}-monitoring"):
        text = kubectl("get", asked, "--namespace", namespace, "--output=json", "--show-managed-fields", check=False)
        found = {item["kind"] for item in json.loads(text)["items"]}
        assert "Pod" in found
        assert leaks(text, secrets) == []
        assert leaks(kubectl("get", "events", "--namespace", namespace, "--output=json"), secrets) == []
    assert {"Job", "Deployment", "ConfigMap"} <= {
        item["kind"]
        for item in json.loads(kubectl("get", asked, "--namespace", staging.namespace, "--output=json", check=False))[
            "items"
        ]
    }


def test_logs_of_the_pods_have_none(staging: Environment, secrets: set[str]) -> None:
    said = ""
    for namespace in (staging.namespace, f"{staging.namespace}-monitoring"):
        for pod in objects("pods", namespace):
            name = pod["metadata"]["name"]
            said += kubectl("logs", name, "--namespace", namespace, "--all-containers", "--prefix", check=False)
    assert "published linear version" in said
    assert leaks(said, secrets) == []


def test_mlflow_has_none(staging: Environment, secrets: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what it tells of experiments, runs and models, nor its databases: of passwords those have hashes."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PLANTED["registry_admin_password"])
    client = MlflowClient(staging.outputs()["tracking_uri"])
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = [run.to_dictionary() for run in client.search_runs(experiments)]
    assert runs
    told = json.dumps(runs, default=str) + str(client.search_model_versions("name = 'linear'"))
    assert leaks(told, secrets) == []
    [pod] = [
        found["metadata"]["name"]
        for found in objects("pods", staging.namespace)
        if found["metadata"]["labels"].get("app.kubernetes.io/name") == "mlflow"
    ]
    command = ["kubectl", "exec", pod, "--namespace", staging.namespace, "--"]
    read = subprocess.run([*command, "python", "-c", _DATABASES], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    content = base64.b64decode(read.stdout).decode(errors="replace")
    assert "run-" in content and leaks(content, secrets) == []
