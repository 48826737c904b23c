"""ModelImage: what is built, with which builder, and what a plan may claim."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, ModelImage, ModelImageArgs, mlflow_image
from modelops.image import mlflow_image as mlflow_image_module
from tests.conftest import REPOSITORY
from tests.unit.components.harness import DIGEST, Program, Secret, environment, run


@pytest.fixture
def context(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return str(tmp_path)


def build(args: Any, **how: Any) -> Program:
    return run(lambda: ModelImage("demo", args), **how)


def exported(image: Mapping[str, Any]) -> dict[str, str]:
    """How the image is exported, by BuildKit's names."""
    [export] = image["exports"]
    return dict(field.split("=") for field in export["raw"].split(","))


def test_defaults(context: str) -> None:
    program = build({"context": context, "repository": "registry.example.com/team/model"})
    image = program.one("Image").inputs
    assert image["tags"] == ["registry.example.com/team/model:latest"]
    assert image["dockerfile"] == {"location": f"{context}/Dockerfile"}
    assert image["buildOnPreview"] is False
    assert exported(image) == {
        "type": "registry",
        "push": "true",
        "oci-mediatypes": "true",
        "compression": "zstd",
        "compression-level": "3",
        "force-compression": "true",
    }
    assert not {"builder", "platforms", "registries", "cacheFrom", "cacheTo", "target"} & image.keys()
    assert program.outputs["ref"].value == f"registry.example.com/team/model@{DIGEST}"
    assert program.outputs["digest"].value == DIGEST


def test_everything_set_is_kept(context: str) -> None:
    args: ModelImageArgs = {
        "context": context,
        "repository": "localhost:5000/team/model",
        "dockerfile": f"{context}/Dockerfile",
        "target": "serve",
        "build_args": {"BASE_IMAGE": "base"},
        "platforms": ["linux/amd64", "linux/arm64"],
        "tag": "v1",
        "builder_name": "modelops",
        "credentials": {"username": "robot", "password": "token"},
        "cache": True,
        "compression": "gzip",  # type: ignore[typeddict-item]
        "push": False,
    }
    image = build(args).one("Image").inputs
    assert image["tags"] == ["localhost:5000/team/model:v1"]
    assert image["target"] == "serve"
    assert image["buildArgs"] == {"BASE_IMAGE": "base"}
    assert image["platforms"] == ["linux/amd64", "linux/arm64"]
    assert image["builder"] == {"name": "modelops"}
    assert image["registries"] == Secret([{"address": "localhost:5000", "username": "robot", "password": "token"}])
    assert image["cacheFrom"][0]["registry"]["ref"] == "localhost:5000/team/model:buildcache"
    assert image["cacheTo"][0]["registry"]["mode"] == "max"
    assert (exported(image)["compression"], exported(image)["push"]) == ("gzip", "false")


@pytest.mark.parametrize("late", [False, True])
def test_with_a_time_to_stamp_files_with_they_are_rewritten(context: str, late: bool) -> None:
    arguments: Any = {"SOURCE_DATE_EPOCH": "315532800"}
    given = pulumi.Output.from_input(arguments) if late else arguments
    image = build({"context": context, "repository": "team/model", "build_args": given}).one("Image").inputs
    assert image["buildArgs"] == arguments
    assert exported(image)["rewrite-timestamp"] == "true"


def test_tag_defaults_to_the_target(context: str) -> None:
    image = build({"context": context, "repository": "team/model", "target": "train"}).one("Image").inputs
    assert image["tags"] == ["team/model:train"]


def test_docker_hub_is_the_registry_of_a_bare_name(context: str) -> None:
    credentials = {"username": "robot", "password": "token"}
    image = build({"context": context, "repository": "team/model", "credentials": credentials}).one("Image").inputs
    assert image["registries"].value[0]["address"] == "docker.io"


def test_the_docker_engine_builds_where_asked_to(context: str) -> None:
    args = {
        "context": context,
        "repository": "registry.example.com/team/model",
        "builder": "docker",
        "platforms": ["linux/amd64"],
        "credentials": {"username": "robot", "password": "token"},
    }
    program = build(args)
    image = program.one("Image")
    assert image.type.startswith("docker:")
    assert image.inputs["imageName"] == "registry.example.com/team/model:latest"
    assert image.inputs["registry"] == Secret(
        {"server": "registry.example.com", "username": "robot", "password": "token"}
    )
    assert program.outputs["ref"].value == f"registry.example.com/team/model@{DIGEST}"


def test_a_plan_of_a_changed_image_claims_no_reference(context: str) -> None:
    """The provider previews a changed image with an empty digest, as if it were known."""
    program = build({"context": context, "repository": "team/model"}, preview=True, digest="")
    assert not program.outputs["ref"].known
    assert not program.outputs["digest"].known


def test_a_build_without_digest_fails(context: str) -> None:
    with pytest.raises(pulumi.RunError, match="no digest"):
        build({"context": context, "repository": "team/model"}, digest="")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"context": "nowhere"}, "context is 'nowhere', must be a folder"),
        ({"dockerfile": "nowhere/Dockerfile"}, "dockerfile is 'nowhere/Dockerfile', must be a file"),
        ({"repository": "team/model:v1"}, "must not have a tag"),
        ({"repository": "Team"}, "must be an image repository"),
        ({"repository": "oci://registry.example.com/team"}, "must be an image repository"),
        ({"platforms": ["amd64"]}, "platforms[0] is 'amd64', must be <system>/<architecture>"),
        ({"builder": "kaniko"}, "builder is 'kaniko', must be one of docker-build, docker"),
        ({"compression": "xz"}, "compression is 'xz', must be one of zstd, gzip"),
        ({"builder": "docker", "cache": True}, "cache is True, must not be given with the docker builder"),
        ({"builder": "docker", "builder_name": "x"}, "builder_name is 'x', must not be given"),
        ({"builder": "docker", "platforms": ["a/b", "c/d"]}, "must be at most one with the docker builder"),
        ({"credentials": {"username": "a"}}, "credentials.password is missing"),
    ],
)
def test_each_error(context: str, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        build({"context": context, "repository": "team/model", **change})
    assert problem in str(caught.value)


def test_required_fields_are_named() -> None:
    with pytest.raises(ArgumentsError) as caught:
        build({})
    assert str(caught.value).splitlines()[1:] == [
        "  - context is missing, it is required",
        "  - repository is missing, it is required",
    ]


def test_a_model_s_folder_is_pushed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.json").touch()
    args = {"context": str(tmp_path), "repository": "registry.example.com/team/linear", "artifact": True}
    program = build({**args, "platforms": ["linux/amd64", "linux/arm64"]})
    dockerfile = program.one("Image").inputs["dockerfile"]
    assert dockerfile == {"inline": "FROM scratch\nCOPY --chmod=755 . /\n"}
    assert program.outputs["model_uri"].value == f"oci://registry.example.com/team/linear@{DIGEST}"
    assert not build(args, preview=True, digest="").outputs["model_uri"].known


def test_only_a_model_s_folder_can_be_served_as_an_image(context: str) -> None:
    assert "model_uri" not in build({"context": context, "repository": "registry.example.com/team/model"}).outputs


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"dockerfile": "Dockerfile"}, "dockerfile is 'Dockerfile', must not be given with artifact"),
        ({"target": "serve"}, "target is 'serve', must not be given with artifact"),
        ({"build_args": {"A": "b"}}, "must not be given with artifact, which has no Dockerfile"),
        ({"builder": "docker"}, "artifact is True, must not be given with the docker builder"),
        ({"context": "nowhere"}, "context is 'nowhere', must be a folder"),
        ({"context": "empty"}, "context is 'empty', must have a model's files, and is empty"),
        ({"push": False}, "push is False, must not be given with artifact, which pods take from the registry"),
    ],
)
def test_each_error_of_a_model_s_folder(
    change: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentsError) as caught:
        build({"context": str(tmp_path), "repository": "localhost/linear", "artifact": True, **change})
    assert problem in str(caught.value)


REQUIREMENTS = "mlflow==3.17.2\n# made by MLflow\nscikit-learn==1.9.1\n"


def test_the_image_of_a_model_has_the_model_s_own_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    for model in (tmp_path, str(tmp_path / "requirements.txt")):
        args = mlflow_image(model, "localhost:5000/iris", base_image="python:3.11-slim", onnx=True, tag="v1")
        image = build(args).one("Image").inputs
        built = image["buildArgs"]
        assert built["REQUIREMENTS"].splitlines()[:2] == ["mlflow==3.17.2", "scikit-learn==1.9.1"]
        assert "skl2onnx" in built["REQUIREMENTS"].splitlines()
        assert "uvicorn==0.54.0" in built["SERVER_REQUIREMENTS"].split()
        assert built["BASE_IMAGE"] == "python:3.11-slim"
        assert image["tags"] == ["localhost:5000/iris:v1"]
        assert Path(image["context"]["location"], "modelops_runtime", "serving", "serve.py").is_file()


def test_the_image_s_server_has_the_versions_that_the_server_needs() -> None:
    """As its package declares them."""
    declared = (REPOSITORY / "model" / "pyproject.toml").read_text()
    for requirement in mlflow_image_module.SERVER:
        if requirement not in ("packaging", "pandas", "pyyaml"):
            assert f'"{requirement}' in declared, requirement


@contextmanager
def registry(
    alias: bytes = b'{"model_version": {"version": "7"}}', requirements: bytes = REQUIREMENTS.encode()
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A registry's address, and what it is asked, with the account."""
    asked: list[tuple[str, str | None]] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = alias if "alias" in self.path else requirements
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_requirements_come_from_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "team")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with registry() as (address, asked):
        args = mlflow_image("models:/iris@champion", "r/i", tracking_uri=address)
    assert "scikit-learn==1.9.1" in args["build_args"]["REQUIREMENTS"]  # type: ignore[index]
    assert [path for path, _token in asked] == [
        "/api/2.0/mlflow/registered-models/alias?name=iris&alias=champion",
        "/model-versions/get-artifact?path=requirements.txt&name=iris&version=7",
    ]
    assert {token for _path, token in asked} == {"Basic dGVhbTpzZWNyZXQ="}


def test_the_registry_s_token_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with registry() as (address, asked):
        mlflow_image("models:/iris/7", "r/i", tracking_uri=f"{address}/")
    assert asked == [("/model-versions/get-artifact?path=requirements.txt&name=iris&version=7", "Bearer secret")]


@pytest.mark.parametrize("alias", [b"<html>", b"[]", b"{}", b'{"model_version": {}}'])
def test_what_is_no_registry_is_refused(alias: bytes) -> None:
    refusal = pytest.raises(ArgumentsError, match="doesn't tell which version models:/iris@champion is")
    with registry(alias) as (address, _asked), refusal:
        mlflow_image("models:/iris@champion", "r/i", tracking_uri=address)


@pytest.mark.parametrize("page", [b"<!doctype html>\n<p>Log in</p>", b"\xff"])
def test_a_page_is_not_taken_for_requirements(page: bytes) -> None:
    refusal = pytest.raises(ArgumentsError, match="the registry doesn't give the model's requirements")
    with registry(requirements=page) as (address, _asked), refusal:
        mlflow_image("models:/iris/1", "r/i", tracking_uri=address)


def test_what_the_image_is_made_from_must_be_known_to_the_program() -> None:
    def build_later() -> None:
        later: Any = pulumi.Output.from_input("models:/iris/1")
        with pytest.raises(ArgumentsError, match="model is not known yet, must be a plain value"):
            mlflow_image(later, "r/i", tracking_uri="http://r")
        with pytest.raises(ArgumentsError, match="tracking_uri is not known yet, must be a plain value"):
            mlflow_image("models:/iris/1", "r/i", tracking_uri=later)

    run(build_later)


def test_the_program_in_the_guide_is_run() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "mlflow-models.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    with registry() as (address, _asked):
        resources = run(lambda: exec(program.replace("https://mlflow.example.com", address), {}))
    image = resources.one("Image").inputs
    assert "scikit-learn==1.9.1" in image["buildArgs"]["REQUIREMENTS"]
    fetched = environment(resources.one("Deployment"), "fetch")
    assert fetched["MODELOPS_MODEL_URI"] == "models:/flowers/3"
    assert fetched["MODELOPS_REQUIREMENTS"] == "refuse"


@pytest.mark.parametrize(
    ("model", "tracking_uri", "message"),
    [
        ("nowhere", "", "can't be read"),
        ("models:/iris", "http://r", "must be models:/<name>@<alias>"),
        ("models:/iris/1", "", "tracking_uri is ''"),
        ("models:/iris/1", "http://127.0.0.1:1", "the registry doesn't give"),
        ("models:/iris/1", "http://ann:pw@registry", "the address isn't one that can be asked$"),
        ("models:/iris/1", "http://[registry", "the address isn't one that can be asked$"),
    ],
)
def test_a_model_without_requirements_is_refused(model: str, tracking_uri: str, message: str) -> None:
    with pytest.raises(ArgumentsError, match=message):
        mlflow_image(model, "r/i", tracking_uri=tracking_uri)
