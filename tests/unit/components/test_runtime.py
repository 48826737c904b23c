"""The program that the library brings into its pods: complete, and the same wherever the plan is made."""

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelops import ModelPromotion, TrainingJob
from modelops.kubernetes import runtime
from tests.unit.components.harness import Program, environment, pod, run
from tests.unit.components.service import ARGS as SERVICE
from tests.unit.components.service import serve
from tests.unit.components.test_model_promotion import ARGS as PROMOTION
from tests.unit.components.test_model_promotion import IMAGE
from tests.unit.components.test_training_job import ARGS as TRAINING

# Some modules are imported only when they are needed. The image that publishes has MLflow; this machine may not.
IMPORT_EVERYTHING = """
import importlib, sys, zipfile
for name in zipfile.ZipFile(sys.argv[1]).namelist():
    try:
        importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    except ModuleNotFoundError as error:
        if error.name not in ("mlflow", "obstore"):
            raise
import modelops_runtime
print(list(modelops_runtime.__path__))
"""


def train() -> Program:
    return run(lambda: TrainingJob("demo", TRAINING))  # type: ignore[arg-type]


def serve_large(args: Any) -> Program:
    return serve({"runtime": "vllm", "namespace": "ml", **args})


def promote() -> Program:
    return run(lambda: ModelPromotion("demo", PROMOTION))  # type: ignore[arg-type]


def archive_of(program: Program) -> bytes:
    [files] = [each.inputs["binaryData"] for each in program.of("ConfigMap") if "binaryData" in each.inputs]
    return base64.b64decode(files["modelops_runtime.zip"])


@pytest.mark.parametrize(
    ("program", "commands"),
    [
        (lambda: serve({**SERVICE, "serving_alias": "serving"}), ("fetch", "hold", "promote")),
        (lambda: serve_large({"model_uri": "pvc://models/chat/1"}), ("assemble", "hold", "promote")),
        (promote, ("transfer",)),
        (lambda: run(lambda: ModelPromotion("demo", IMAGE)), ("replicate",)),
        (train, ("publish", "watch", "select")),
    ],
    ids=["service", "large model", "promotion", "promotion of an image", "training"],
)
def test_the_archive_has_all_that_its_commands_import(program: Any, commands: tuple[str, ...], tmp_path: Path) -> None:
    archive = tmp_path / "modelops_runtime.zip"
    archive.write_bytes(archive_of(program()))
    variables = {"PYTHONPATH": str(archive)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_EVERYTHING, archive], env=variables, capture_output=True, text=True
    )
    assert done.stdout.strip() == f"['{archive}/modelops_runtime']", done.stderr
    for command in commands:
        words = [sys.executable, *runtime.runtime_command(command)[1:]]
        done = subprocess.run(words, env=variables, capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("error: MODELOPS_"), done.stderr


def test_the_copy_in_a_serving_image_is_left_aside(tmp_path: Path) -> None:
    (tmp_path / "modelops_runtime").mkdir()
    (tmp_path / "modelops_runtime" / "__main__.py").write_text("print('the image own copy')")
    archive = tmp_path / "archive.zip"
    archive.write_bytes(archive_of(serve(SERVICE)))
    words = [sys.executable, *runtime.runtime_command("fetch")[1:]]
    done = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(archive)}, capture_output=True, text=True)
    assert done.stdout == "" and "MODELOPS_MODEL_URI is not set" in done.stderr


def test_the_archive_is_mounted_where_python_looks_for_it() -> None:
    program = serve(SERVICE)
    deployment = program.one("Deployment")
    [volume] = [each for each in pod(deployment)["volumes"] if each["name"] == "runtime"]
    assert volume["configMap"]["name"] == program.one("ConfigMap").inputs["metadata"]["name"]
    fetch = next(each for each in pod(deployment)["initContainers"] if each["name"] == "fetch")
    [mounted] = [each for each in fetch["volumeMounts"] if each["name"] == "runtime"]
    assert environment(deployment, "fetch")["PYTHONPATH"] == f"{mounted['mountPath']}/modelops_runtime.zip"
    assert mounted["readOnly"] is True


def test_its_name_changes_with_the_sources_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed bytes differ from one zlib to another; pods must not roll out for that."""
    before = serve(SERVICE).one("ConfigMap")
    assert before.options["ignore_changes"] == ["binaryData"]
    monkeypatch.setattr(runtime, "_zipped", lambda files: "other bytes")
    assert serve(SERVICE).one("ConfigMap").inputs["metadata"]["name"] == before.inputs["metadata"]["name"]
    files = {"modelops_runtime/__main__.py": "print(2)"}
    monkeypatch.setattr(runtime, "runtime_files", lambda *commands: files)
    assert serve(SERVICE).one("ConfigMap").inputs["metadata"]["name"] != before.inputs["metadata"]["name"]


def test_an_installation_without_the_program_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runtime, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(runtime, "_INSTALLED", tmp_path)
    assert "modelops_runtime/registry/fetch.py" in runtime.runtime_files.__wrapped__("fetch"), "the installed package's"
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="install modelops-runtime beside it"):
        runtime.runtime_files.__wrapped__("fetch")
