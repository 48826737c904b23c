"""The image of a model that plain MLflow logged, made of the model's own requirements."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any, cast

from modelops.core.credentials import mlflow_authorization, without_login
from modelops.core.errors import ArgumentsError
from modelops.core.outputs import is_output
from modelops.image.model_image import ModelImageArgs
from modelops.kubernetes.runtime import runtime_folder

FILE_NAME = "requirements.txt"
DOCKERFILE = Path(__file__).with_name("assets") / "mlflow.Dockerfile"
SERVER = (
    "httptools>=0.6",
    "msgspec>=0.18",
    "packaging",
    "pandas",
    "prometheus-client>=0.20",
    "pyyaml",
    "uvicorn==0.54.0",
    "uvloop>=0.19",
)
"""What the server needs besides the model's own requirements."""
ONNX = ("onnxruntime", "skl2onnx", "onnxmltools")
TIMEOUT_SECONDS = 30
_NO_REQUIREMENTS = "mlflow_image: the registry doesn't give the model's requirements"
_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>[1-9][0-9]*))")


def mlflow_image(
    model: str | Path,
    repository: Any,
    *,
    tracking_uri: str = "",
    base_image: str = "",
    onnx: bool = False,
    extra_requirements: Sequence[str] = (),
    **others: Any,
) -> ModelImageArgs:
    """ModelImage's arguments for an image that serves a model which plain MLflow logged.

    `model` is a folder that MLflow wrote, its `requirements.txt`, or a version in the registry at `tracking_uri`,
    `models:/<name>@<alias>` or `models:/<name>/<version>`. The program reads its requirements whenever it runs; where
    the registry has accounts, with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    Take a `base_image` with the model's version of Python. `onnx` adds what converts scikit-learn, XGBoost and LightGBM
    models. `others` are other arguments of ModelImage. Raises ArgumentsError where there are no requirements.
    """
    for field, value in (("model", model), ("tracking_uri", tracking_uri)):
        if is_output(value):
            rule = "must be a plain value: the requirements are read as the program runs"
            raise ArgumentsError(f"mlflow_image: {field} is not known yet, {rule}")
    requirements = [*_requirements(model, tracking_uri), *extra_requirements, *(ONNX if onnx else ())]
    build_args = {
        "REQUIREMENTS": "\n".join(requirements),
        "SERVER_REQUIREMENTS": " ".join(SERVER),
        **({"BASE_IMAGE": base_image} if base_image else {}),
        **others.pop("build_args", {}),
    }
    arguments: dict[str, Any] = {
        "context": str(runtime_folder()),
        "dockerfile": str(DOCKERFILE),
        "repository": repository,
        "build_args": build_args,
        **others,
    }
    return cast(ModelImageArgs, arguments)


def _requirements(model: str | Path, tracking_uri: str) -> list[str]:
    text = _from_registry(str(model), tracking_uri) if str(model).startswith("models:") else _from_files(Path(model))
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _from_files(model: Path) -> str:
    file = model / FILE_NAME if model.is_dir() else model
    try:
        return file.read_text()
    except OSError as error:
        raise ArgumentsError(f"mlflow_image: model is {str(model)!r}, and {file} can't be read: {error}") from None


def _from_registry(uri: str, tracking_uri: str) -> str:
    match = _MODEL.fullmatch(uri)
    if match is None:
        raise ArgumentsError(
            f"mlflow_image: model is {uri!r}, must be models:/<name>@<alias>, models:/<name>/<version> or a folder"
        )
    if not re.match(r"https?://", tracking_uri):
        raise ArgumentsError(
            f"mlflow_image: tracking_uri is {without_login(repr(tracking_uri))}, must be the address of the registry"
        )
    server, name, version = tracking_uri.rstrip("/"), match["name"], match["version"]
    if version is None:
        content = _get(f"{server}/api/2.0/mlflow/registered-models/alias", {"name": name, "alias": match["alias"]})
        try:
            version = str(json.loads(content)["model_version"]["version"])
        except (ValueError, LookupError, TypeError):
            raise ArgumentsError(f"mlflow_image: the registry doesn't tell which version {uri} is") from None
    content = _get(f"{server}/model-versions/get-artifact", {"path": FILE_NAME, "name": name, "version": version})
    if content.lstrip().startswith("<"):  # A page to log in at, from what stands before the registry.
        raise ArgumentsError(f"{_NO_REQUIREMENTS}: it answers with a page")
    return content


def _get(url: str, query: dict[str, str]) -> str:
    try:
        request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}")
        if authorization := mlflow_authorization():
            request.add_unredirected_header("Authorization", authorization)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            content: str = response.read().decode()
            return content
    except UnicodeDecodeError:
        raise ArgumentsError(f"{_NO_REQUIREMENTS}: its answer isn't text") from None
    except OSError as error:
        raise ArgumentsError(f"{_NO_REQUIREMENTS}: {error}") from None
    except (ValueError, InvalidURL):  # Their text may have the credentials.
        raise ArgumentsError(f"{_NO_REQUIREMENTS}: the address isn't one that can be asked") from None
    except HTTPException:
        raise ArgumentsError(f"{_NO_REQUIREMENTS}: its answer isn't valid HTTP") from None
