"""The runtime's modules in processes of their own."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY

PYTHONPATH = f"{REPOSITORY}/model:{REPOSITORY}"


def environment(**variables: object) -> dict[str, str]:
    """This process' environment without what the contracts define, and with `variables`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MODELOPS_", "MLFLOW_"))}
    return {**kept, "PYTHONPATH": PYTHONPATH, **{key: str(value) for key, value in variables.items()}}


def run_module(module: str, **variables: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *module.split()],
        env=environment(**variables),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
