"""MLflow's own libraries against Google Cloud Storage and Azure: what the server, a back-up and a restore do there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelops
from tests import stores
from tests.stores import ObjectStore

BACKUP = Path(modelops.__file__).parent / "registry" / "assets" / "backup.py"


@pytest.fixture(scope="module", params=["gs", "az"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with stores.running(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


def run_step(step: str, store: ObjectStore, folder: Path) -> str:
    """A step of a back-up, whose volume is in `folder`; what it prints."""
    code = BACKUP.read_text().replace('Path("/backup")', f"Path({str(folder)!r})")
    variables = {
        "MODELOPS_ARTIFACTS": store.mlflow_uri,
        "MODELOPS_KEEP": "3",
        "MLFLOW_BACKEND_STORE_URI": "postgresql://elsewhere",
        **store.mlflow_variables,
    }
    command = [sys.executable, "-c", code, step]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_in_the_store_are_saved_and_restored(store: ObjectStore, tmp_path: Path) -> None:
    files = {"1/abc/artifacts/model/model.json": b"{}", "1/abc/artifacts/model/weights": b"w" * 100_000}
    for name, content in files.items():
        store.put(f"mlflow/{name}", content)
    assert run_step("save", store, tmp_path) == "copied 2 new files, 0 were in the mirror\n"
    assert {name: (tmp_path / "artifacts" / name).read_bytes() for name in files} == files
    assert run_step("save", store, tmp_path) == "copied 0 new files, 2 were in the mirror\n"

    store.remove("mlflow/1/abc/artifacts/model/weights")
    assert run_step("restore", store, tmp_path) == "restored 1 files, 1 were in the store\n"
    assert store.get("mlflow/1/abc/artifacts/model/weights") == files["1/abc/artifacts/model/weights"]
