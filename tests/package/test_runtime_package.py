"""The runtime as other teams get it: from a git URL into an environment of its own, without any of its extras."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelops_runtime.__main__ import COMMANDS
from tests.package.clean_environment import clean_environment

MODEL = Path(__file__).resolve().parents[2] / "model"
CORE = [
    "contract",
    "artifacts.manifest",
    *(f"registry.{each}" for each in "fetch hold promote replicate transfer publishing.gate".split()),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed commands; the environment has nothing else, not even pip."""
    folder = tmp_path_factory.mktemp("runtime")
    ignored = shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
    shutil.copytree(MODEL, folder / "repository" / "model", ignore=ignored)
    git = ["git", "-C", folder / "repository", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "model"]):
        subprocess.run([*git, *command], check=True)
    url = f"git+file://{folder / 'repository'}#subdirectory=model"
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, url], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [wheel] = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel],
        check=True,
        env=clean_environment(),
    )
    return python.parent


def run(command: list[str | Path], **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {key: value for key, value in clean_environment().items() if not key.startswith(("MODELOPS_", "MLFLOW_"))}
    return subprocess.run(command, cwd="/", env=kept | variables, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_installed_and_shows_its_help(scripts: Path, command: str) -> None:
    done = run([scripts / f"modelops-{command}", "--help"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: modelops-{command}")


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_the_standard_library_alone(scripts: Path, module: str) -> None:
    code = f"import sys, modelops_runtime.{module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = run([scripts / "python", "-I", "-c", code])
    assert done.returncode == 0, done.stderr
    own = {name for name in done.stdout.split() if not name.startswith(("_", "sitecustomize", "usercustomize"))}
    assert own - sys.stdlib_module_names == {"modelops_runtime"}


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("fetch", {"MODELOPS_MODEL_URI": "models:/line@run-1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}),
        ("promote", {"MODELOPS_MODEL_URI": "models:/line@run-1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}),
        (
            "transfer",
            {
                "MODELOPS_MODEL_NAME": "line",
                "MODELOPS_RUN_ID": "1",
                "MODELOPS_SOURCE_URI": "http://127.0.0.1:1",
                "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
            },
        ),
    ],
)
def test_commands_of_the_core_get_as_far_as_the_registry(
    scripts: Path, tmp_path: Path, command: str, variables: dict[str, str]
) -> None:
    here = {"MODELOPS_REGISTRY_WAIT_SECONDS": "0", "MODELOPS_MODEL_DIR": str(tmp_path / "model")}
    done = run([scripts / f"modelops-{command}"], **here, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the registry http://127.0.0.1:1 is not reachable"), done.stderr


def trained(folder: Path) -> dict[str, str]:
    """The variables of a publishing container, and a training's results in `folder`."""
    (folder / "model").mkdir()
    (folder / "model" / "model.onnx").touch()
    (folder / "metrics.json").write_text('{"mse": 0.5}')
    return {
        "MODELOPS_RUN_ID": "1",
        "MODELOPS_MODEL_NAME": "line",
        "MODELOPS_OUTPUT_DIR": str(folder),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    }


@pytest.mark.parametrize(("bound", "code"), [("1", 0), ("0.1", 3)])
def test_the_gate_needs_no_extra(scripts: Path, tmp_path: Path, bound: str, code: int) -> None:
    gate = {"MODELOPS_GATE": f'{{"mse": {{"max": {bound}}}}}'}
    done = run([scripts / "modelops-publish", "--gate"], **trained(tmp_path), **gate)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize(
    ("command", "extra", "words"),
    [
        ("serve", "serve", []),
        ("prepare", "data", ["--pipeline", "{}", "--destination", "/tmp/none"]),
    ],
)
def test_a_command_without_its_extra_names_it(scripts: Path, command: str, extra: str, words: list[str]) -> None:
    done = run([scripts / f"modelops-{command}", *words])
    assert done.returncode == 2
    assert f"pip install 'modelops-runtime[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
