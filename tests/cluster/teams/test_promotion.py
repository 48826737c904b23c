"""What ran in staging goes to prod as it is: two stacks of this repository, each with a registry of its own."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support import eventually, kubectl, objects, post
from tests.cluster.teams.environments import PLANTED, Environment, hand_over_account, promoting

pytestmark = [pytest.mark.teams, pytest.mark.long]


@pytest.fixture(scope="module")
def promoted(staging_and_prod: tuple[Environment, Environment]) -> tuple[Environment, Environment]:
    """Both up. The namespace comes with the stack; the Job in it waits for the Secret that the team puts there."""
    staging, prod = staging_and_prod
    with ThreadPoolExecutor() as pool:
        up = pool.submit(prod.up)
        eventually(lambda: up.done() or kubectl("get", "namespace", prod.namespace, check=False))
        if not up.done():
            hand_over_account(staging, prod)
        up.result()
    return staging, prod


def images(stack: Environment) -> set[tuple[str, str]]:
    """What the pods of the service run: as it was asked for, and as the node found it."""
    pods = objects("pods", stack.namespace, "--selector", "app.kubernetes.io/name=model-service")
    return {
        (status["image"], status["imageID"])
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for status in pod["status"]["containerStatuses"]
    }


def files(stack: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests of the model's files in the stack's registry."""
    from mlflow.artifacts import download_artifacts

    secured = stack.name == "staging"
    for name, value in (("USERNAME", "admin"), ("PASSWORD", PLANTED["registry_admin_password"])):
        if secured:
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        else:
            monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    found = stack.outputs()
    folder.mkdir()
    uri = f"models:/linear@{found['model_version']}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found["tracking_uri"])
    download_artifacts(uri, dst_path=str(folder))
    (folder / "registered_model_meta").unlink()  # MLflow's own note of where it was downloaded from
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_prod_serves_the_very_image_and_model_of_staging(
    promoted: tuple[Environment, Environment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging, prod = promoted
    before, after = staging.outputs(), prod.outputs()
    for name in ("image", "run_id", "model_uri", "model_version", "metrics"):
        assert before[name] == after[name], name
    assert "@sha256:" in after["image"]
    assert images(staging) == images(prod)
    assert files(staging, tmp_path / "staging", monkeypatch) == files(prod, tmp_path / "prod", monkeypatch)
    answers = [eventually(lambda url=each["predict_url"]: post(url, {"inputs": [[0.5]]})) for each in (before, after)]
    assert answers[0] == answers[1] and answers[0][0] == 200


def test_nothing_is_built_or_trained_in_prod(promoted: tuple[Environment, Environment]) -> None:
    _, prod = promoted
    types = {urn.split("::")[2].split("$")[-1] for urn, _, _ in prod.resources()}
    assert "modelops:index:ModelPromotion" in types
    assert not {name for name in types if "TrainingJob" in name or "Image" in name or "docker" in name}
    jobs = {job["metadata"]["labels"]["app.kubernetes.io/name"] for job in objects("jobs", prod.namespace)}
    assert jobs == {"model-promotion", "rollout-watch", "serving-alias", "job-watch"}


def test_a_second_up_promotes_nothing_anew(promoted: tuple[Environment, Environment]) -> None:
    _, prod = promoted
    done = prod.pulumi("preview", "--expect-no-changes")
    assert done.returncode == 0, done.stdout + done.stderr


def test_prods_own_gate_judges_and_what_serves_goes_on(promoted: tuple[Environment, Environment]) -> None:
    """The bound is below the noise in the data, which no model can do."""
    staging, prod = promoted
    before = images(prod)
    config: dict[str, Any] = promoting(staging, 0.0001)
    prod.configure(config)
    try:
        done = prod.pulumi("up", "--yes", "--skip-preview")
        said = done.stdout + done.stderr
        assert done.returncode != 0 and "gate not met: mse is" in said and "must be at most 0.0001" in said, said
        assert images(prod) == before
        assert post(prod.outputs()["predict_url"], {"inputs": [[0.5]]})[0] == 200
    finally:
        prod.configure(promoting(staging, 0.1))
        prod.up()
