"""Fetching from a registry that misbehaves. (A real one: test_publish.py.)"""

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelops_runtime.artifacts.manifest import FILE_NAME
from modelops_runtime.contract import ContractError, Environment, FetchContract
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.sources.mlflow import parse_model_uri
from tests.runtime import run_module

NOBODY = 65534
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
API = "/api/2.0/mlflow"
Reply = tuple[int, bytes]


class FakeRegistry:
    """Answers as MLflow does; a test replaces single answers."""

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.replies: dict[str, Callable[[], Reply]] = {}
        self.artifact_uri = "mlflow-artifacts:/1/abc/artifacts/model"
        self.url = ""
        self.breaks_off = 0
        """How many of the next answers break off in the middle."""

    def reply(self, target: str) -> Reply:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        name = parts.path.removeprefix(API + "/").removeprefix(ARTIFACTS + "/")
        self.asked.append(name)
        if name in self.replies:
            return self.replies[name]()
        if name == "registered-models/alias":
            assert query == {"name": "line", "alias": "run-1"}
            return 200, json.dumps({"model_version": {"name": "line", "version": "3"}}).encode()
        if name == "model-versions/get-download-uri":
            assert query == {"name": "line", "version": "3"}
            return 200, json.dumps({"artifact_uri": self.artifact_uri}).encode()
        if parts.path == ARTIFACTS:
            folder = self.model_dir / query["path"].removeprefix("1/abc/artifacts/model").lstrip("/")
            files = [{"path": f.name, "is_dir": f.is_dir(), "file_size": f.stat().st_size} for f in folder.iterdir()]
            return 200, json.dumps({"files": files}).encode()
        return 200, (self.model_dir / name.removeprefix("1/abc/artifacts/model/")).read_bytes()


@pytest.fixture
def registry(model_dir: Path) -> Iterator[FakeRegistry]:
    with serving_registry(model_dir) as fake:
        yield fake


@contextmanager
def serving_registry(model_dir: Path) -> Iterator[FakeRegistry]:
    fake = FakeRegistry(model_dir)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.headers = dict(self.headers.items())
            status, body = fake.reply(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            broken, fake.breaks_off = fake.breaks_off > 0, max(0, fake.breaks_off - 1)
            self.wfile.write(body[: len(body) // 2] if broken else body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield fake
        server.shutdown()


def contract(registry: FakeRegistry, target: Path, **changes: Any) -> FetchContract:
    defaults: dict[str, Any] = {
        "model_uri": "models:/line@run-1",
        "tracking_uri": registry.url,
        "model_dir": target,
        "cache_dir": None,
        "wait_seconds": 0,
        "max_bytes": 2**20,
    }
    return FetchContract(**{**defaults, **changes})


def fails(registry: FakeRegistry, target: Path, **changes: Any) -> str:
    """The message of a fetch that fails; what is in the target folder must be what was there before. What had come
    until it broke off may be out of sight."""
    before = seen(target)
    with pytest.raises(ContractError) as caught:
        fetch(contract(registry, target, **changes))
    assert seen(target) == before
    return str(caught.value)


def seen(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.iterdir() if not path.name.startswith(".fetch-")] if folder.exists() else []
    return {path.name: path.read_bytes() for path in paths}


def test_the_manifest_and_its_file_are_fetched(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    assert fetch(contract(registry, tmp_path / "model")).name == "line"
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert fetched == {name: (model_dir / name).read_bytes() for name in (FILE_NAME, "model.tflite")}


def test_a_version_number_needs_no_alias(registry: FakeRegistry, tmp_path: Path) -> None:
    fetch(contract(registry, tmp_path, model_uri="models:/line/3"))
    assert "registered-models/alias" not in registry.asked


def test_artifacts_named_by_a_full_url(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.artifact_uri = f"{registry.url}{ARTIFACTS}/1/abc/artifacts/model"
    assert fetch(contract(registry, tmp_path)).name == "line"


def test_a_fetched_model_replaces_the_one_before(registry: FakeRegistry, tmp_path: Path) -> None:
    for name in (FILE_NAME, "model.tflite"):
        (tmp_path / name).write_text("the one before")
    fetch(contract(registry, tmp_path))
    assert "before" not in (tmp_path / FILE_NAME).read_text()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_registry_that_is_not_there(registry: FakeRegistry, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = fails(registry, tmp_path, tracking_uri=f"http://127.0.0.1:{port}")
    assert f"the registry http://127.0.0.1:{port} is not reachable" in message
    assert "refused" in message


def test_a_host_that_can_t_be_found(registry: FakeRegistry, tmp_path: Path) -> None:
    message = fails(registry, tmp_path, tracking_uri="http://no-such-host.invalid:5000")
    assert "the registry http://no-such-host.invalid:5000 is not reachable" in message


def test_a_registry_that_comes_up_late_is_waited_for(registry: FakeRegistry, tmp_path: Path) -> None:
    replies = iter([(503, b"starting"), (500, b"")])

    def late() -> Reply:
        if reply := next(replies, None):
            return reply
        del registry.replies["registered-models/alias"]
        return registry.reply(f"{API}/registered-models/alias?name=line&alias=run-1")

    registry.replies["registered-models/alias"] = late
    assert fetch(contract(registry, tmp_path, wait_seconds=10)).name == "line"


def test_an_answer_that_breaks_off_is_asked_for_again(registry: FakeRegistry, tmp_path: Path) -> None:
    """Each of the first five, in whatever they are: of the API, of a listing, of a file."""
    registry.breaks_off = 5
    assert fetch(contract(registry, tmp_path, wait_seconds=30)).name == "line"
    registry.breaks_off = 1
    message = fails(registry, tmp_path / "other")
    assert re.search(
        r"is not reachable for models:/line@run-1: the answer broke off after \d+ bytes, \d+ are missing", message
    )


def test_an_alias_that_is_not_there(registry: FakeRegistry, tmp_path: Path) -> None:
    refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias run-1 not found."}
    registry.replies["registered-models/alias"] = lambda: (400, json.dumps(refusal).encode())
    message = fails(registry, tmp_path, wait_seconds=60)  # refused is refused: there is no waiting
    assert "refused models:/line@run-1: Registered model alias run-1 not found. (HTTP 400)" in message


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b""])
def test_a_server_that_is_no_registry(registry: FakeRegistry, tmp_path: Path, body: bytes) -> None:
    registry.replies["registered-models/alias"] = lambda: (200, body)
    assert "does not answer like an MLflow server" in fails(registry, tmp_path)


@pytest.mark.parametrize("uri", ["/mlruns/1/model", "file:///mlruns/1/model", "http://host/x", ""])
def test_files_that_the_server_does_not_pass_on(registry: FakeRegistry, tmp_path: Path, uri: str) -> None:
    registry.artifact_uri = uri
    message = fails(registry, tmp_path)
    assert f"the model's files are at {uri!r}" in message
    assert "--serve-artifacts" in message


def test_a_version_without_a_manifest(registry: FakeRegistry, tmp_path: Path) -> None:
    listing = {"files": [{"path": "model.pkl", "is_dir": False, "file_size": 3}]}
    registry.replies[ARTIFACTS] = lambda: (200, json.dumps(listing).encode())
    assert fails(registry, tmp_path) == "models:/line@run-1 has no model.json; it has model.pkl"


MLFLOW = {"MLmodel": "flavors: {}", "code/team/steps.py": "steps = []", "model.pkl": "forest"}
"""An MLflow model, with a folder in it."""


@pytest.fixture
def mlflow_model(registry: FakeRegistry, tmp_path: Path) -> FakeRegistry:
    registry.model_dir = tmp_path / "logged"
    for name, content in MLFLOW.items():
        (registry.model_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (registry.model_dir / name).write_text(content)
    return registry


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_model_that_mlflow_logged_is_fetched_whole(mlflow_model: FakeRegistry, tmp_path: Path) -> None:
    assert fetch(contract(mlflow_model, tmp_path / "pod")).name == "an MLflow model"
    assert contents(tmp_path / "pod") == MLFLOW


def test_the_cache_keeps_a_model_that_mlflow_logged(mlflow_model: FakeRegistry, tmp_path: Path) -> None:
    for pod in ("first", "second"):
        fetch(contract(mlflow_model, tmp_path / pod, cache_dir=tmp_path / "cache"))
        assert contents(tmp_path / pod) == MLFLOW
    assert len(downloads(mlflow_model)) == len(MLFLOW)


@pytest.mark.parametrize("name", MLFLOW)
def test_the_cache_s_copy_of_it_is_replaced_when_damaged(mlflow_model: FakeRegistry, tmp_path: Path, name: str) -> None:
    fetch(contract(mlflow_model, tmp_path / "first", cache_dir=tmp_path / "cache"))
    [entry] = (tmp_path / "cache").glob("model-*")
    (entry / name).unlink()
    fetch(contract(mlflow_model, tmp_path / "second", cache_dir=tmp_path / "cache"))
    (entry / name).write_text("damaged")
    fetch(contract(mlflow_model, tmp_path / "third", cache_dir=tmp_path / "cache"))
    assert contents(tmp_path / "third") == MLFLOW


def test_a_file_cut_short_leaves_nothing_of_a_model_that_mlflow_logged(
    mlflow_model: FakeRegistry, tmp_path: Path
) -> None:
    mlflow_model.replies[f"{DOWNLOADS}model.pkl"] = lambda: (200, b"for")
    assert "model.pkl: 3 bytes came, the registry lists 6" in fails(mlflow_model, tmp_path / "pod")


def test_no_file_comes_to_lie_outside_the_folder(mlflow_model: FakeRegistry, tmp_path: Path) -> None:
    files = [{"path": name, "is_dir": False, "file_size": 1} for name in ("MLmodel", "../outside")]
    mlflow_model.replies[ARTIFACTS] = lambda: (200, json.dumps({"files": files}).encode())
    assert "../outside is not a path inside the model's folder" in fails(mlflow_model, tmp_path / "pod")
    assert not (tmp_path / "outside").exists()


def test_a_model_that_mlflow_logged_is_bounded_too(mlflow_model: FakeRegistry, tmp_path: Path) -> None:
    assert "at most 5 are allowed" in fails(mlflow_model, tmp_path / "pod", max_bytes=5)


def test_a_version_without_files(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.replies[ARTIFACTS] = lambda: (200, b"{}")
    assert fails(registry, tmp_path) == "models:/line@run-1 has no model.json; it has no file"


def test_a_file_cut_short(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    content = (model_dir / "model.tflite").read_bytes()
    registry.replies["1/abc/artifacts/model/model.tflite"] = lambda: (200, content[:100])
    assert f"model.tflite: 100 bytes came, the registry lists {len(content)}" in fails(registry, tmp_path)


def test_a_damaged_file(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / FILE_NAME).write_text("the one before")
    content = bytearray((model_dir / "model.tflite").read_bytes())
    content[-1] ^= 1
    registry.replies["1/abc/artifacts/model/model.tflite"] = lambda: (200, bytes(content))
    assert "model.tflite is damaged: its SHA-256 is" in fails(registry, tmp_path)


def test_a_damaged_manifest(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    size = (model_dir / FILE_NAME).stat().st_size
    registry.replies[f"1/abc/artifacts/model/{FILE_NAME}"] = lambda: (200, b"{" * size)
    assert "is not JSON" in fails(registry, tmp_path)


def test_a_model_that_is_too_large(registry: FakeRegistry, tmp_path: Path) -> None:
    assert "at most 10 are allowed (MODELOPS_MODEL_MAX_BYTES)" in fails(registry, tmp_path, max_bytes=10)


def test_a_mounted_model_is_checked_where_it_is(model_dir: Path, tmp_path: Path) -> None:
    model_dir = shutil.copytree(model_dir, tmp_path / "model")
    where = {"MODELOPS_MODEL_URI": f"file://{model_dir}", "MODELOPS_MODEL_DIR": str(model_dir)}
    before = sorted(model_dir.iterdir())
    finished = run_module("modelops_runtime fetch", **where)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"fetched file://{model_dir}: line, run ")
    assert sorted(model_dir.iterdir()) == before
    (model_dir / "model.tflite").write_bytes(b"damaged")
    damaged = run_module("modelops_runtime fetch", **where)
    assert damaged.returncode == 1 and "model.tflite" in damaged.stderr


def test_a_mounted_file_that_the_pods_user_cannot_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as place, as_nobody(Path(place)):
        folder = Path(place, "model")
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        hidden = folder / "model.safetensors"
        hidden.touch(0)
        with pytest.raises(ContractError, match=f"{hidden} can't be read by the user .*: give it to all, chmod"):
            fetch(FetchContract(f"file://{folder}", "", folder, None, 0, 2**20))
        hidden.chmod(0o600)
        fetch(FetchContract(f"file://{folder}", "", folder, None, 0, 2**20))


@contextmanager
def as_nobody(place: Path) -> Iterator[None]:
    """The super-user can read everything; the folder is made nobody's."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(place, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_program_names_every_wrong_variable() -> None:
    finished = run_module("modelops_runtime fetch", MODELOPS_MODEL_URI="models:/demo")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [
        "error: MODELOPS_MODEL_URI is 'models:/demo', must be models:/<name>@<alias>, models:/<name>/<version>,"
        " models:/m-<id>, runs:/<run id>/<folder>, hf://<organization>/<model>[@<revision>] or a folder's address:"
        " s3://, gs://, az://, abfss://, wasbs:// or file:///",
        "error: MLFLOW_TRACKING_URI is not set",
    ]


REGISTRY = "http://registry"


def read(uri: str, tracking_uri: str = "") -> list[str]:
    env = Environment({"MODELOPS_MODEL_URI": uri, "MLFLOW_TRACKING_URI": tracking_uri})
    FetchContract.read(env)
    return env.problems


@pytest.mark.parametrize(
    "uri",
    ["models:/a.b@run-1", "models:/a/12", f"models:/m-{'0a' * 16}", f"runs:/{'0a' * 16}/model", "runs:/0a/deep/er"],
)
def test_what_is_in_a_registry_needs_its_address(uri: str) -> None:
    assert read(uri, REGISTRY) == []
    assert read(uri) == ["MLFLOW_TRACKING_URI is not set"]


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket",
        "s3://bucket/team/line/",
        "gs://bucket/line",
        "az://container/line",
        "wasbs://container@account.blob.core.windows.net/line",
        "abfss://container@account.dfs.core.windows.net/line",
        "hf://team/tiny",
        "hf://team/tiny@refs/pr/1",
        "file:///models/line",
    ],
)
def test_other_addresses_need_no_registry(uri: str) -> None:
    assert read(uri) == []


@pytest.mark.parametrize(
    "uri",
    [
        "models:/m-",
        "models:/a",
        "runs:/0a",
        "s3://",
        "s3:/bucket",
        "hf://tiny",
        "hf://a/b/c",
        "file://models",
        "ftp://x",
    ],
)
def test_half_an_address_is_refused(uri: str) -> None:
    [problem] = read(uri, REGISTRY)
    assert problem.startswith(f"MODELOPS_MODEL_URI is {uri!r}, must be models:/")


@pytest.mark.parametrize(
    ("uri", "package"), [("s3://bucket/line", "obstore"), ("gs://b", "obstore"), ("hf://team/tiny", "huggingface_hub")]
)
def test_a_package_that_is_missing_is_named_with_who_has_it(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, package: str
) -> None:
    monkeypatch.delitem(sys.modules, f"{package}.store", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ContractError) as caught:
        fetch(contract(registry, tmp_path, model_uri=uri))
    assert caught.value.code == 2
    assert f"{uri} needs the package {package}" in str(caught.value)
    assert "target `fetch`" in str(caught.value) and "pip install 'modelops-runtime[stores]'" in str(caught.value)


@pytest.fixture
def mounted(model_dir: Path, tmp_path: Path) -> Path:
    """A volume's folder with the model `line`."""
    shutil.copytree(model_dir, tmp_path / "volume" / "my line")
    return tmp_path / "volume" / "my line"


def test_a_mounted_folder_is_linked(registry: FakeRegistry, tmp_path: Path, mounted: Path) -> None:
    assert fetch(contract(registry, tmp_path / "pod", model_uri=mounted.as_uri())).name == "line"
    assert (tmp_path / "pod" / "model.tflite").resolve() == mounted / "model.tflite"
    assert registry.asked == []


def test_a_folder_that_is_mounted_in_its_place_stays_as_it_is(registry: FakeRegistry, mounted: Path) -> None:
    before = {path: path.read_bytes() for path in mounted.iterdir()}
    assert fetch(contract(registry, mounted, model_uri=mounted.as_uri())).name == "line"
    assert {path: path.read_bytes() for path in mounted.iterdir()} == before


def test_a_mounted_folder_is_checked(registry: FakeRegistry, tmp_path: Path, mounted: Path) -> None:
    (mounted / "model.tflite").write_bytes(b"other bytes")
    assert "model.tflite is damaged" in fails(registry, tmp_path / "pod", model_uri=mounted.as_uri())
    nothing = (tmp_path / "nothing").as_uri()
    assert "there is no model in" in fails(registry, tmp_path / "pod", model_uri=nothing)


def test_a_mounted_folder_of_another_server_s_kind_is_linked_whole(
    registry: FakeRegistry, tmp_path: Path, mlflow_model: FakeRegistry
) -> None:
    uri = mlflow_model.model_dir.as_uri()
    assert fetch(contract(registry, tmp_path / "pod", model_uri=uri)).name == "an MLflow model"
    assert contents(tmp_path / "pod") == MLFLOW


def test_a_download_that_breaks_off_goes_on_where_it_was(
    registry: FakeRegistry, tmp_path: Path, model_dir: Path
) -> None:
    content = (model_dir / "model.tflite").read_bytes()
    starts: list[int] = []

    def piece() -> Reply:
        start = int(registry.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        starts.append(start)
        return (206, content[start:]) if start else (200, content[:100])

    registry.replies["1/abc/artifacts/model/model.tflite"] = piece
    fetch(contract(registry, tmp_path / "pod", wait_seconds=10))
    assert (tmp_path / "pod" / "model.tflite").read_bytes() == content
    assert starts == [0, 100]


def test_a_server_that_knows_no_ranges_starts_over(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    content = (model_dir / "model.tflite").read_bytes()
    replies = iter([(200, content[:100]), (200, content)])
    registry.replies["1/abc/artifacts/model/model.tflite"] = lambda: next(replies)
    fetch(contract(registry, tmp_path / "pod", wait_seconds=10))
    assert (tmp_path / "pod" / "model.tflite").read_bytes() == content


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("models:/a.b@run-1", ("a.b", "run-1", None)), ("models:/a/12", ("a", None, "12"))],
)
def test_model_uris_are_taken_apart(uri: str, expected: tuple[str, str | None, str | None]) -> None:
    assert parse_model_uri(uri) == expected


DOWNLOADS = "1/abc/artifacts/model/"


def downloads(registry: FakeRegistry) -> list[str]:
    """The files that were downloaded, in order."""
    return [name.removeprefix(DOWNLOADS) for name in registry.asked if name.startswith(DOWNLOADS)]


def test_what_is_in_the_cache_is_not_downloaded_again(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    for pod in ("first", "second"):
        fetch(contract(registry, tmp_path / pod, cache_dir=tmp_path / "cache"))
        for name in (FILE_NAME, "model.tflite"):
            assert (tmp_path / pod / name).read_bytes() == (model_dir / name).read_bytes()
    assert downloads(registry) == [FILE_NAME, "model.tflite"]


def test_a_moved_alias_is_fetched_anew_and_both_versions_stay(registry: FakeRegistry, tmp_path: Path) -> None:
    fetch(contract(registry, tmp_path / "pod", cache_dir=tmp_path / "cache"))
    registry.artifact_uri = "mlflow-artifacts:/1/abc/artifacts/model/"
    fetch(contract(registry, tmp_path / "pod", cache_dir=tmp_path / "cache"))
    assert len(downloads(registry)) == 4
    assert len(list((tmp_path / "cache").glob("model-*"))) == 2


def test_a_damaged_copy_in_the_cache_is_replaced(registry: FakeRegistry, tmp_path: Path, model_dir: Path) -> None:
    fetch(contract(registry, tmp_path / "first", cache_dir=tmp_path / "cache"))
    [copy] = (tmp_path / "cache").glob("model-*/model.tflite")
    copy.write_bytes(b"damaged")
    fetch(contract(registry, tmp_path / "second", cache_dir=tmp_path / "cache"))
    assert (tmp_path / "second" / "model.tflite").read_bytes() == (model_dir / "model.tflite").read_bytes()


def test_a_cached_version_needs_no_registry(registry: FakeRegistry, tmp_path: Path) -> None:
    fetch(contract(registry, tmp_path / "first", cache_dir=tmp_path / "cache"))
    gone = {"cache_dir": tmp_path / "cache", "tracking_uri": "http://127.0.0.1:9"}
    assert fetch(contract(registry, tmp_path / "second", **gone)).name == "line"
    assert "not reachable" in fails(registry, tmp_path / "third", model_uri="models:/line/4", **gone)


def test_a_registry_that_refuses_is_believed_whatever_is_cached(registry: FakeRegistry, tmp_path: Path) -> None:
    fetch(contract(registry, tmp_path / "first", cache_dir=tmp_path / "cache"))
    registry.replies["registered-models/alias"] = lambda: (404, b'{"message": "no such alias"}')
    assert "no such alias" in fails(registry, tmp_path / "second", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("cached", [False, True])
def test_the_next_fetch_goes_on_where_a_download_was_cut_off(
    registry: FakeRegistry, tmp_path: Path, model_dir: Path, cached: bool
) -> None:
    content = (model_dir / "model.tflite").read_bytes()
    cache = {"cache_dir": tmp_path / "cache"} if cached else {}
    registry.replies[f"{DOWNLOADS}model.tflite"] = lambda: (200, content[:100])
    fails(registry, tmp_path / "pod", **cache)
    assert list((tmp_path / "cache").glob("model-*")) == []
    asked: list[str] = []

    def rest() -> Reply:
        asked.append(registry.headers["Range"])
        return 206, content[100:]

    registry.replies[f"{DOWNLOADS}model.tflite"] = rest
    fetch(contract(registry, tmp_path / "pod", **cache))
    assert asked == ["bytes=100-"]
    assert (tmp_path / "pod" / "model.tflite").read_bytes() == content
    assert not [*tmp_path.rglob(".fetch-*"), *tmp_path.rglob(".incoming-*")]
    assert downloads(registry).count(FILE_NAME) == 1


def test_what_broke_off_of_another_version_is_given_up(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.replies[f"{DOWNLOADS}model.tflite"] = lambda: (200, b"short")
    fails(registry, tmp_path / "pod")
    assert len(list((tmp_path / "pod").glob(".fetch-*"))) == 1
    registry.artifact_uri = "mlflow-artifacts:/1/abc/artifacts/model/"
    registry.replies.clear()
    fetch(contract(registry, tmp_path / "pod"))
    assert list((tmp_path / "pod").glob(".fetch-*")) == []


def test_a_full_cache_gives_up_what_was_used_longest_ago(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    for number, name in enumerate(("model-old", "model-new")):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (number, number))
    rooms = iter([SimpleNamespace(free=0), SimpleNamespace(free=2**40)])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: next(rooms))
    fetch(contract(registry, tmp_path / "pod", cache_dir=cache))
    assert not (cache / "model-old").exists()
    assert (cache / "model-new").exists()


def test_pods_that_fetch_at_the_same_time_all_get_it(registry: FakeRegistry, tmp_path: Path) -> None:
    pods = [contract(registry, tmp_path / str(number), cache_dir=tmp_path / "cache") for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert {manifest.name for manifest in threads.map(fetch, pods)} == {"line"}
    assert len(list((tmp_path / "cache").glob("model-*"))) == 1
    assert list((tmp_path / "cache").glob(".incoming-*")) == []


def test_requirements_that_the_image_has_not_are_refused_as_the_model_is_fetched(
    mlflow_model: FakeRegistry, tmp_path: Path
) -> None:
    (mlflow_model.model_dir / "requirements.txt").write_text("numpy>=1\nno-such-package==2\n")

    def fetched(requirements: str) -> Any:
        variables = {"MODELOPS_REQUIREMENTS": requirements, "MODELOPS_MODEL_DIR": tmp_path / "pod"}
        address = {"MODELOPS_MODEL_URI": "models:/line@run-1", "MLFLOW_TRACKING_URI": mlflow_model.url}
        return run_module("modelops_runtime fetch", **address, **variables)

    refused = fetched("refuse")
    assert refused.returncode == 2
    assert "error: no-such-package==2: the image lacks it" in refused.stderr.splitlines()
    for ignored in ("warn", ""):
        assert fetched(ignored).returncode == 0
