"""What can't be tried on this machine: each locked package has a wheel for the processors and systems that we name.

Only the packages' metadata is read; nothing is installed.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.integration, pytest.mark.long]  # minutes of resolving, by what the index says
LINUX, MACOS = "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"
IMAGES = ["train", "train-pytorch", "fetch", "prepare", "publish", "serve", "serve-onnx", "serve-grpc", "serve-tracing",
          "finetune"]  # fmt: skip
"""Of images, which run Linux whatever the machine. MXNet has wheels for x86_64 alone."""
HERE = [
    "requirements-stack.txt",
    *(f"model/requirements-{name}.txt" for name in ("train", "prepare", "serve", "fetch")),
]
"""Of the machine that runs `make up` and `make lint`."""


@pytest.mark.parametrize("name", IMAGES)
def test_every_package_of_an_image_has_a_wheel_for_arm64(name: str, tmp_path: Path) -> None:
    assert without_wheel(REPOSITORY / f"model/requirements-{name}.txt", LINUX, tmp_path) == ""


@pytest.mark.parametrize("platform", [LINUX, MACOS])
@pytest.mark.parametrize("file", HERE)
def test_every_package_of_a_developers_machine_has_a_wheel_for_arm64(file: str, platform: str, tmp_path: Path) -> None:
    assert without_wheel(REPOSITORY / file, platform, tmp_path) == ""


def without_wheel(file: Path, platform: str, folder: Path) -> str:
    """The resolver's reason why one of the packages can't be installed from a wheel there; empty if all can."""
    locked = folder / "requirements.txt"
    lines = file.read_text().splitlines()
    locked.write_text("\n".join(line for line in lines if not re.match(r"-[er] ", line)))
    command = [str(REPOSITORY / ".venv/bin/uv"), "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", "3.12", "--python-platform", platform, str(locked)]
    # The oldest macOS that has a current ONNX Runtime.
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr
