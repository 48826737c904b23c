"""Fetching from real object stores: S3, Google Cloud Storage and Azure Blob Storage."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.artifacts.manifest import FILE_NAME
from modelops_runtime.contract import ConfigurationError, ContractError, FetchContract
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.sources import progress
from tests import stores
from tests.runtime import run_module
from tests.stores import ObjectStore, server, store

__all__ = ["server", "store"]

FILES = (FILE_NAME, "model.tflite")
LARGE = 12 * 2**20


@pytest.fixture
def stored(store: ObjectStore, model_dir: Path) -> ObjectStore:
    """A store with the model `line` in the folder `team/line`."""
    for name in FILES:
        store.put(f"team/line/{name}", (model_dir / name).read_bytes())
    store.put("team/line/notes/readme.md", b"not needed to serve")
    return store


def contract(uri: str, target: Path, **changes: Any) -> FetchContract:
    defaults: dict[str, Any] = {"tracking_uri": "", "cache_dir": None, "wait_seconds": 0, "max_bytes": 2**30}
    return FetchContract(model_uri=uri, model_dir=target, **{**defaults, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_with_a_manifest(stored: ObjectStore, tmp_path: Path, model_dir: Path) -> None:
    assert fetch(contract(f"{stored.uri}/team/line", tmp_path / "pod")).name == "line"
    assert contents(tmp_path / "pod") == {name: (model_dir / name).read_bytes() for name in FILES}


def test_the_command_takes_the_address_and_needs_no_registry(stored: ObjectStore, tmp_path: Path) -> None:
    uri = f"{stored.uri}/team/line/"
    done = run_module("modelops_runtime fetch", MODELOPS_MODEL_URI=uri, MODELOPS_MODEL_DIR=tmp_path, **stored.variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"fetched {uri}: line, run ")


def test_a_folder_of_another_server_s_kind_is_fetched_whole(store: ObjectStore, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "onnx/model file.onnx": b"graph", "empty": b""}
    for name, content in files.items():
        store.put(f"llm/{name}", content)
    assert fetch(contract(f"{store.uri}/llm", tmp_path / "pod")).name == "a Transformers model"
    assert contents(tmp_path / "pod") == files


def test_a_folder_without_a_model_is_refused_with_what_is_there(store: ObjectStore, tmp_path: Path) -> None:
    for number in range(12):
        store.put(f"odd/file-{number:02}", b"x")
    with pytest.raises(ContractError, match=r"/odd has no model\.json; it has file-00, .*, file-09 and 2 more$"):
        fetch(contract(f"{store.uri}/odd", tmp_path / "pod"))
    with pytest.raises(ContractError, match=r"/nothing has no model\.json; it has no file$"):
        fetch(contract(f"{store.uri}/nothing", tmp_path / "pod"))
    assert contents(tmp_path / "pod") == {}


def test_a_bucket_that_is_not_there_is_refused_without_waiting(store: ObjectStore, tmp_path: Path) -> None:
    if store.uri.startswith("gs:"):
        pytest.skip("fake-gcs-server answers with 500 where Google does with 404")
    with pytest.raises(ConfigurationError, match="refused the list of its files"):
        fetch(contract(f"{store.uri}-not/team/line", tmp_path / "pod", wait_seconds=60))


def test_a_damaged_file(stored: ObjectStore, tmp_path: Path) -> None:
    stored.put("team/line/model.tflite", b"other bytes")
    with pytest.raises(ContractError, match=r"model\.tflite is damaged: its SHA-256 is"):
        fetch(contract(f"{stored.uri}/team/line", tmp_path / "pod"))
    assert contents(tmp_path / "pod") == {}


def test_a_file_that_is_too_large(stored: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"at most 10 are allowed \(MODELOPS_MODEL_MAX_BYTES\)"):
        fetch(contract(f"{stored.uri}/team/line", tmp_path / "pod", max_bytes=10))


def test_the_cache_notices_a_path_that_was_overwritten(
    store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put("llm/config.json", b"{}")
    store.put("llm/weights", b"the first")
    cached = {"cache_dir": tmp_path / "cache"}
    for pod, content in (("first", b"the first"), ("second", b"the first"), ("third", b"thesecond")):
        if pod == "third":
            store.put("llm/weights", content)
        fetch(contract(f"{store.uri}/llm", tmp_path / pod, **cached))
        assert (tmp_path / pod / "weights").read_bytes() == content
        assert ("in the cache already" in capsys.readouterr().out) == (pod == "second")
    assert (tmp_path / "first" / "weights").read_bytes() == b"the first"


def test_a_store_that_does_not_answer_is_not_needed_for_what_is_in_the_cache(
    stored: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = {"cache_dir": tmp_path / "cache"}
    fetch(contract(f"{stored.uri}/team/line", tmp_path / "first", **cached))
    for name, value in stored.variables.items():
        if stored.endpoint in value or "gcs_base_url" in value:
            monkeypatch.setenv(name, value.replace(_base(value), "http://127.0.0.1:9"))
    assert fetch(contract(f"{stored.uri}/team/line", tmp_path / "second", **cached)).name == "line"
    with pytest.raises(ContractError, match="is not reachable for the list of its files"):
        fetch(contract(f"{stored.uri}/team/other", tmp_path / "third", **cached))


def _base(value: str) -> str:
    start = value.index("http://")
    return value[start : start + len("http://127.0.0.1:") + 5]


def test_azure_s_other_names_lead_to_the_same_files(tmp_path: Path, stored: ObjectStore) -> None:
    if not stored.uri.startswith("az:"):
        pytest.skip("of Azure alone")
    for number, start in enumerate(
        (
            f"wasbs://{stores.BUCKET}@{stores.ACCOUNT}.blob.core.windows.net",
            f"abfss://{stores.BUCKET}@{stores.ACCOUNT}.dfs.core.windows.net",
        )
    ):
        assert fetch(contract(f"{start}/team/line", tmp_path / str(number))).name == "line"


@contextmanager
def breaking(endpoint: str, after: int) -> Iterator[tuple[str, list[int]]]:
    """An address in front of a server: the first connection over which `after` bytes have come breaks. Counts bytes."""
    host, port = endpoint.removeprefix("http://").split(":")
    passed: list[int] = []
    broken = threading.Event()

    def pass_on(source: socket.socket, target: socket.socket, *, counted: bool) -> None:
        total = 0
        try:
            while data := source.recv(2**16):
                target.sendall(data)
                total += len(data)
                if counted and total > after and not broken.is_set():
                    broken.set()
                    break
        except OSError:
            pass
        finally:
            if counted:
                passed.append(total)
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            behind = socket.create_connection((host, int(port)))
            for ends, counted in (((client, behind), False), ((behind, client), True)):
                threading.Thread(target=pass_on, args=ends, kwargs={"counted": counted}, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", passed
        listener.shutdown(socket.SHUT_RDWR)


def test_a_download_that_breaks_in_the_middle_goes_on_where_it_was(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not store.uri.startswith("s3:"):
        pytest.skip("one store is enough: it is the same code")
    weights = bytes(range(256)) * (LARGE // 256)
    store.put("llm/config.json", b"{}")
    store.put("llm/weights", weights)
    with breaking(store.endpoint, 5 * 2**20) as (endpoint, passed):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        fetch(contract(f"{store.uri}/llm", tmp_path / "pod", wait_seconds=20))
    assert (tmp_path / "pod" / "weights").read_bytes() == weights
    assert len(passed) > 1 and sum(passed) < 1.5 * LARGE


def test_a_long_download_says_how_far_it_is(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put("llm/config.json", b"{}")
    store.put("llm/weights", b"w" * LARGE)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.001)
    fetch(contract(f"{store.uri}/llm", tmp_path / "pod"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("%)")]
    assert lines and all(" of 12 MiB are here (" in line for line in lines)


def test_the_registry_s_files_come_from_the_store_where_the_server_does_not_pass_them_on(
    stored: ObjectStore, tmp_path: Path
) -> None:
    from tests.unit.model.test_fetch import serving_registry

    with serving_registry(tmp_path) as registry:
        registry.artifact_uri = f"{stored.uri}/team/line"
        settings = contract("models:/line@run-1", tmp_path / "pod", tracking_uri=registry.url)
        assert fetch(settings).name == "line"
    assert sorted(contents(tmp_path / "pod")) == sorted(FILES)
