"""`modelops-check`: whether an image has what the `requirements.txt` of a model that plain MLflow logged asks for."""

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from modelops_runtime.contract import ConfigurationError, Environment

FILE_NAME = "requirements.txt"
INSTEAD = {
    "mlflow": ("mlflow-skinny",),
    "onnxruntime": ("onnxruntime-gpu",),
    "opencv-python": ("opencv-python-headless",),
    "tensorflow": ("tensorflow-cpu",),
    "tensorflow-cpu": ("tensorflow",),  # the former is built for x86_64 alone
    "xgboost": ("xgboost-cpu",),
}
"""Other distributions of the same package."""


def check_requirements(folder: Path) -> list[str]:
    """What is missing or there in another version, a line each. Raises ConfigurationError when a line can't be read."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError as error:
        raise ConfigurationError(
            "this image can't serve models that plain MLflow logged: build one with mlflow_image"
            f" ({error.name} is missing)"
        ) from error
    differences = []
    for line in _lines(folder / FILE_NAME):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise ConfigurationError(f"{FILE_NAME} has the line {line!r}: {error}") from error
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = _version(requirement.name)
        if version is None:
            differences.append(f"{line}: the image lacks it")
        elif not requirement.specifier.contains(version, prereleases=True):
            differences.append(f"{line}: the image has {version}")
    return differences


def require(folder: Path) -> None:
    """Raises ConfigurationError that lists what differs."""
    differences = check_requirements(folder)
    if differences:
        raise ConfigurationError(
            f"the image doesn't fit the model's {FILE_NAME}, {len(differences)} of its lines differ",
            *differences,
            "build the image from the model's own requirements (mlflow_image), or set"
            " MODELOPS_REQUIREMENTS=warn if you know that these versions work",
        )


def _version(name: str) -> str | None:
    name = re.sub(r"[-_.]+", "-", name).lower()
    for distribution in (name, *INSTEAD.get(name, ())):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _lines(file: Path) -> Iterator[str]:
    """Requirements, without comments, hashes and pip's options."""
    if not file.is_file():
        return
    for line in file.read_text().replace("\\\n", " ").splitlines():
        requirement = re.sub(r"(^|\s)#.*|\s--.*", "", line).strip()
        if requirement and not requirement.startswith("-"):
            yield requirement


def main() -> None:
    env = Environment()
    folder = env.path("MODELOPS_MODEL_DIR", "/modelops/model")
    env.check()
    require(folder)
    print(f"the image has what {folder / FILE_NAME} asks for", flush=True)
