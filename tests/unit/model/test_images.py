"""The Dockerfile and the requirements: each image has what its programs import, and nothing moves by itself."""

import ast
import re
from pathlib import Path

import pytest

from tests.unit.model.support import ROOT

MODEL = ROOT / "model"
DOCKERFILE = (MODEL / "Dockerfile").read_text()


def imported(module: str, found: set[str] | None = None) -> set[str]:
    """Files under model/ that `module` needs, itself included, imports inside functions too."""
    found = set() if found is None else found
    path = MODEL / Path(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    name = str(path.relative_to(MODEL))
    if not path.exists() or name in found:
        return found
    found.add(name)
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name == "model" or name.startswith("model."):
                imported(name, found)
    return found


def stage(target: str) -> str:
    return DOCKERFILE.split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0].replace("\\\n", " ")


def copied(target: str) -> set[str]:
    """Modules under model/ that a target's stage copies, from the stage that the training images share too."""
    text = stage(target)
    if "--from=train-sources" in text:
        text += stage("train-sources")
    files: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _destination = line.split()
        for source in sources:
            path = MODEL / source
            files |= {str(file.relative_to(MODEL)) for file in path.rglob("*.py")} if path.is_dir() else {source}
    return {name for name in files if name.endswith(".py")}


@pytest.mark.parametrize(
    ("target", "programs"),
    [
        ("prepare", ["model.prepare"]),
        ("prepare-text", ["model.prepare"]),
        ("train", ["model.train", "model.publish", "model.select", "model.watch", "model.frameworks.tensorflow"]),
        ("train-pytorch", ["model.train", "model.publish", "model.select", "model.watch", "model.frameworks.pytorch"]),
        ("train-mxnet", ["model.train", "model.publish", "model.select", "model.watch", "model.frameworks.mxnet"]),
        ("serve", ["model.fetch", "model.promote", "model.serve.__main__", "model.transfer"]),
        ("serve-framework", ["model.fetch", "model.promote", "model.serve.__main__", "model.transfer"]),
    ],
)
def test_an_image_has_what_its_programs_import_and_no_more(target: str, programs: list[str]) -> None:
    # No more: a change in serving code must not make a new training image, and with it a new training.
    assert copied(target) == {name for program in programs for name in imported(program)}


def test_what_is_copied_is_let_into_the_build() -> None:
    rules = [line for line in (MODEL / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule.removeprefix("!") for rule in rules[1:]]
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE):
        for source in line.split()[:-1]:
            files = [path for path in (MODEL / source).rglob("*") if path.is_file()] or [MODEL / source]
            files = [path.relative_to(MODEL) for path in files if "__pycache__" not in path.parts]
            assert files, source
            assert [path for path in files if not any(path.match(rule) for rule in allowed)] == []


def locked(name: str) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (MODEL / name).read_text().splitlines()]
    for line in filter(None, lines):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    return dict(line.lower().split("==") for line in filter(None, lines))


def test_every_requirement_is_locked_and_the_images_agree() -> None:
    serve, train = locked("requirements-serve.txt"), locked("requirements-train.txt")
    assert {name: version for name, version in serve.items() if train.get(name, version) != version} == {}
    assert not {"tensorflow-cpu", "tensorflow", "pandas", "mlflow-skinny", "keras"} & serve.keys()


def test_the_images_run_without_root_and_any_base_will_do() -> None:
    assert DOCKERFILE.count("USER 65532:65532") == 8
    assert "ARG BASE_IMAGE=python:3.12-slim" in DOCKERFILE
    assert "# syntax=" not in DOCKERFILE  # would be pulled from a registry
    assert "http" not in DOCKERFILE.replace("httptools", "")


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = (MODEL / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        "*",
        "!*.py",
        "!frameworks/*.py",
        "!serve/*.py",
        "!steps/*.py",
        "!serve/static/*",
        "!requirements-finetune.txt",
        "!requirements-prepare.txt",
        "!requirements-serve.txt",
        "!requirements-serve-onnx.txt",
        "!requirements-train.txt",
        "!requirements-train-mxnet.txt",
        "!requirements-train-pytorch.txt",
    ]
