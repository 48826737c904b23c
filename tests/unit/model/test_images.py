"""The Dockerfile and the requirements: each image has what its programs import, and nothing moves by itself."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from devkit.locks import LOCKS, lists, pins
from tests.conftest import REPOSITORY

MODEL = REPOSITORY / "model"
DOCKERFILE = (MODEL / "Dockerfile").read_text()


OWN = ("modelops_runtime", "sample")


def imported(module: str, found: set[str] | None = None) -> set[str]:
    """Files under model/ that `module` needs, itself and its packages included, imports inside functions too."""
    found = set() if found is None else found
    path = MODEL / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    name = str(path.relative_to(MODEL))
    if not path.exists() or name in found:
        return found
    found.add(name)
    if "." in module:
        imported(module.rpartition(".")[0], found)
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in OWN:
                imported(name, found)
    return found


def stage(target: str) -> tuple[str, str]:
    """What a stage is made from, and its lines."""
    [(base, text)] = re.findall(rf"^FROM (\S+) AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return base, text.replace("\\\n", " ")


def copied(target: str) -> set[str]:
    """Python files under model/ that a target has: what its stage, the ones below it and their sources copy."""
    if f" AS {target}\n" not in DOCKERFILE:
        return set()
    base, text = stage(target)
    files = copied(base)
    for line in re.findall(r"^COPY (?:--chmod=755 )?(.*)$", text, re.MULTILINE):
        *sources, _destination = line.split()
        if sources[0].startswith("--from="):
            files |= copied(sources[0].removeprefix("--from="))
            continue
        for path in (MODEL / source for source in sources):
            files |= {str(file.relative_to(MODEL)) for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return {name for name in files if name.endswith(".py")}


PUBLISHING = [f"modelops_runtime.registry.{command}" for command in ("publish", "select", "watch")]
REGISTRY = [f"modelops_runtime.registry.{command}" for command in ("fetch", "hold", "promote", "transfer")]
TRAINING = ["sample.train", *PUBLISHING]
SERVING = ["modelops_runtime.serving.serve", *REGISTRY]


@pytest.mark.parametrize(
    ("target", "programs"),
    [
        ("prepare", ["modelops_runtime.data.prepare"]),
        ("prepare-text", ["modelops_runtime.data.prepare"]),
        *((target, TRAINING) for target in ("train", "train-pytorch", "train-mxnet")),
        (
            "finetune",
            [f"modelops_runtime.language_models.{program}" for program in ("finetune.train", "evaluation.evaluate")],
        ),
        ("registry", REGISTRY),
        ("fetch", REGISTRY),
        ("publish", [*PUBLISHING, *REGISTRY]),
        ("serve", SERVING),
        ("serve-framework", SERVING),
    ],
)
def test_an_image_has_what_its_programs_import(target: str, programs: list[str]) -> None:
    needed = {name for program in ["modelops_runtime.__main__", *programs] for name in imported(program)}
    assert needed - copied(target) == set()


def test_the_slim_images_have_the_registry_alone() -> None:
    folders = {Path(name).parts[1] for target in ("registry", "fetch", "publish") for name in copied(target)}
    assert folders == {"__init__.py", "__main__.py", "contract", "artifacts", "registry"}
    assert "pip" not in stage("registry")[1]
    base, text = stage("publish-packages")
    assert base == "base" and "locks/publish.txt" in text


@pytest.mark.parametrize("target", ["train", "train-pytorch", "train-mxnet", "finetune"])
def test_a_change_in_serving_or_in_data_preparation_leaves_the_training_images_alone(target: str) -> None:
    # Another image is another run: it would train again.
    folders = {Path(name).parts[1] for name in copied(target) if name.startswith("modelops_runtime/")}
    assert not folders & {"serving", "data"}


def test_what_is_copied_has_the_same_modes_whatever_it_has_here() -> None:
    copies = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    assert copies and [line for line in copies if not line.startswith("--chmod=755 ")] == []


def test_what_is_copied_is_let_into_the_build() -> None:
    rules = [line for line in (MODEL / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule.removeprefix("!").replace("/**/", "/**") for rule in rules[1:]]
    for line in re.findall(r"^COPY --chmod=755 (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE):
        for source in line.split()[:-1]:
            files = [path for path in (MODEL / source).rglob("*") if path.is_file()] or [MODEL / source]
            names = [path.relative_to(MODEL).as_posix() for path in files if "__pycache__" not in path.parts]
            assert names, source
            assert [name for name in names if not any(fnmatch(name, rule) for rule in allowed)] == []


def locked(name: str) -> dict[str, str]:
    lines = [re.split(r" ; |#", line)[0].strip() for line in (MODEL / name).read_text().splitlines()]
    for line in filter(None, lines):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    return dict(line.lower().split("==") for line in filter(None, lines))


def test_every_requirement_is_locked_and_the_images_agree() -> None:
    serve, train = locked("requirements-serve.txt"), locked("requirements-train.txt")
    assert {name: version for name, version in serve.items() if train.get(name, version) != version} == {}
    assert not {"tensorflow-cpu", "tensorflow", "pandas", "mlflow-skinny", "keras"} & serve.keys()
    fetch, finetune = locked("requirements-fetch.txt"), locked("requirements-finetune.txt")
    known = {**train, "huggingface-hub": finetune["huggingface-hub"]}
    assert {name: version for name, version in fetch.items() if known.get(name, version) != version} == {}
    assert {"obstore", "huggingface-hub"} <= fetch.keys()
    evaluate, pytorch = locked("requirements-evaluate.txt"), locked("requirements-train-pytorch.txt")
    assert {"jsonschema", "lm-eval", "rouge-score"} <= evaluate.keys()
    assert not evaluate.keys() & (finetune.keys() | pytorch.keys())  # it adds to them, and changes nothing
    publish = locked("requirements-publish.txt")
    assert "mlflow-skinny" in publish and publish.items() <= train.items()
    assert not {"tensorflow-cpu", "numpy", "torch", "pandas", "scikit-learn"} & publish.keys()


@pytest.mark.parametrize("name", lists())
def test_a_lock_has_its_lists_versions_and_a_hash_of_each(name: str) -> None:
    lock = LOCKS / f"{name}.txt"
    assert {pin.replace("'", '"') for pin in pins(lock)} == set(pins(lists()[name])), "run `make lock`"
    for line in lock.read_text().splitlines():
        assert re.search(r"( --hash=sha256:[0-9a-f]{64})+$", line), line


def test_a_lock_without_a_list_is_not_left() -> None:
    assert {path.stem for path in LOCKS.iterdir()} == lists().keys()


def test_whatever_pip_installs_is_held_against_its_hash() -> None:
    commands = re.findall(r"pip --python [^&;]*", DOCKERFILE.replace("\\\n", " "))
    assert len(commands) == 15
    free = [command for command in commands if "--require-hashes" not in command]
    # An index of its own builds has other files: there, and only there, the hashes are left out.
    [command] = free
    assert "${hashes-}" in command
    [rule] = re.findall(r"if \[ -n (.+?) \].*?; else hashes=(\S+); fi", stage("pytorch-packages")[1])
    assert rule == ('"$PYTORCH_INDEX"', "--require-hashes")


def test_images_install_from_locks_alone() -> None:
    copied_lists = re.findall(r"^COPY --chmod=755 (.*requirements\S*|locks/.*) /opt/", DOCKERFILE, re.MULTILINE)
    assert {name for line in copied_lists for name in line.split()} == {f"locks/{name}.txt" for name in lists()}


def test_the_images_run_without_root_and_any_base_will_do() -> None:
    assert DOCKERFILE.count("USER 65532:65532") == 11
    assert "ARG BASE_IMAGE=python:3.12-slim" in DOCKERFILE
    assert "# syntax=" not in DOCKERFILE  # would be pulled from a registry
    assert "http" not in DOCKERFILE.replace("httptools", "")
