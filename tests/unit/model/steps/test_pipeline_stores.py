"""Prepared data and checkpoints in real object stores: S3, Google Cloud Storage and Azure Blob Storage."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from modelops_runtime.artifacts import prepared
from modelops_runtime.contract import ConfigurationError, ContractError, TrainingContract
from modelops_runtime.contract.environment import Environment
from modelops_runtime.data import prepare
from modelops_runtime.data.storage import ABOUT, Place
from modelops_runtime.language_models.copies import copied
from modelops_runtime.training.checkpoint import Checkpoints, Progress
from sample import dataset
from sample.parameters import Parameters
from tests.stores import ObjectStore, emptied, running, server, store

__all__ = ["server", "store"]

ROWS = pd.DataFrame({"age": range(60), "y": [0, 1] * 30})


def declared(uri: str) -> dict[str, Any]:
    types = {"age": "number", "y": "number"}
    steps = [{"split": {"seed": 3}}, {"scale": {"columns": ["age"]}}]
    return {"sources": [{"uri": uri, "types": types}], "steps": steps, "target": "y"}


def run(pipeline: dict[str, Any], destination: str, *words: str) -> None:
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", destination, *words])


def parts(store: ObjectStore, version: str) -> dict[str, int]:
    """Rows of each part of a version."""
    found: dict[str, int] = {}
    for name in store.names():
        if name.startswith(f"prepared/{version}/") and name.endswith(".parquet"):
            part = name.split("/")[2]
            found[part] = found.get(part, 0) + len(pd.read_parquet(io.BytesIO(store.get(name))))
    return found


def ages(destination: str, version: str = "v1") -> list[float]:
    """The ages that a training is given, of all parts, before they were scaled."""
    read = dataset.Version(f"{destination}/{version}")
    [operation] = read.preprocessing().operations
    scaled = pd.concat([read.part(part) for part in prepared.PARTS])["age"]
    return sorted(round(value * operation["deviation"] + operation["mean"], 6) for value in scaled)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_pipeline_reads_and_writes_there(store: ObjectStore, shards: int, capsys: pytest.CaptureFixture[str]) -> None:
    for number, rows in enumerate((ROWS[:20], ROWS[20:])):
        store.put(f"raw/part-{number}.csv", rows.to_csv(index=False).encode())
    pipeline, destination = declared(f"{store.uri}/raw/part-*.csv"), f"{store.uri}/prepared"
    for shard in [*range(1, shards), 0]:
        run(pipeline, destination, "--shards", str(shards), "--shard", str(shard))
    version = json.loads(store.get("prepared/latest.json"))["data_version"]
    assert parts(store, version) == {"train": 36, "validation": 12, "test": 12}
    run(pipeline, destination)
    assert "nothing to do" in capsys.readouterr().out
    assert [name for name in store.names() if "/." in name] == []


def test_a_training_reads_it_from_there(store: ObjectStore) -> None:
    store.put("raw/all.csv", ROWS.to_csv(index=False).encode())
    run(declared(f"{store.uri}/raw/all.csv"), f"{store.uri}/prepared", "--data-version", "v1")
    read = dataset.read(f"{store.uri}/prepared/v1", Parameters())
    assert str(read) == "36 training, 12 validation, 12 test rows"


def test_texts_are_copied_from_there_as_the_report_lists_them(store: ObjectStore) -> None:
    store.put("raw.csv", ROWS.to_csv(index=False).encode())
    run(declared(f"{store.uri}/raw.csv"), f"{store.uri}/prepared", "--data-version", "v1")
    left = ROWS.to_parquet(None)
    assert left is not None
    for name in ("prepared/v1/train/killed/part-00000.parquet", "prepared/v2/train/killed/part-00000.parquet"):
        store.put(name, left)
    folder = copied(f"{store.uri}/prepared/v1", 0)
    assert sum(len(pd.read_parquet(file)) for file in prepared.rows_of(folder, "train")) == 36
    assert len(list(folder.rglob("*.parquet"))) == 3
    with pytest.raises(ConfigurationError, match=r"prepared/v2 has no report\.json: it is no version, or not a whole"):
        copied(f"{store.uri}/prepared/v2", 0)


def test_a_file_that_is_not_there_is_named(store: ObjectStore) -> None:
    with pytest.raises(ContractError, match=r"raw/all\.csv"):
        run(declared(f"{store.uri}/raw/all.csv"), f"{store.uri}/prepared")


def test_a_training_s_checkpoint_is_kept_there(store: ObjectStore) -> None:
    env = Environment({"MODELOPS_RUN_ID": "abc", "MODELOPS_CHECKPOINT_URI": f"{store.uri}/checkpoints"})
    settings = TrainingContract.read(env)
    checkpoints = Checkpoints(settings, {"epochs": 3})
    assert checkpoints.load() is None
    checkpoints.save(Progress(history=[{"loss": 0.5}], step=7, weights=b"state"))
    loaded = Checkpoints(settings, {"epochs": 3}).load()
    assert loaded is not None and (loaded.step, loaded.weights) == (7, b"state")
    assert store.names() == ["checkpoints/abc/last.ckpt"]


KILLED = """
import os, signal, sys
from modelops_runtime.data import prepare, storage

left = int(sys.argv.pop(1))


def counted(function):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **options)

    return call


class Store:
    def __init__(self, store):
        self.put = counted(store.put)


place, opened = storage.Place, storage.open_store
place.write_text, place.write_table = counted(place.write_text), counted(place.write_table)
place._remove_file = counted(place._remove_file)
storage.open_store = lambda *arguments: Store(opened(*arguments))
prepare.main()
"""


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running("s3", tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def s3(s3_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return emptied(s3_server, monkeypatch)


@pytest.mark.parametrize("writes", [0, 3, 5, 7])
def test_a_killed_first_worker_of_several_leaves_nothing_that_is_read(s3: ObjectStore, writes: int) -> None:
    pipeline, destination = declared(f"{s3.uri}/raw-*.csv"), f"{s3.uri}/prepared"
    for number, rows in enumerate((ROWS[:20], ROWS[20:])):
        s3.put(f"raw-{number}.csv", rows.to_csv(index=False).encode())
    shards = ["--shards", "2", "--data-version", "v1", "--shard"]
    words = ["--pipeline", json.dumps(pipeline), "--destination", destination, *shards, "0"]
    run(pipeline, destination, *shards, "1")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(writes), *words], check=False)
    assert killed.returncode == -signal.SIGKILL
    published = "prepared/v1/report.json" in s3.names()
    if not published:
        s3.put("raw-1.csv", ROWS[20:50].to_csv(index=False).encode())
        run(pipeline, destination, *shards, "1")
    run(pipeline, destination, *shards, "0")
    assert ages(destination) == [*range(60 if published else 50)]
    assert [name for name in s3.names() if "/." in name] == []
    listed = {file["name"] for file in json.loads(s3.get("prepared/v1/report.json"))["files"]}
    there = {name.removeprefix("prepared/v1/") for name in s3.names() if name.startswith("prepared/v1/")}
    assert there == {*listed, *ABOUT, "report.json"}


def test_the_workers_of_an_engine_publish_one_attempt(s3: ObjectStore) -> None:
    s3.put("raw.csv", ROWS.to_csv(index=False).encode())
    pipeline, destination = declared(f"{s3.uri}/raw.csv"), f"{s3.uri}/prepared"
    run(pipeline, destination, "--engine", "dask", "--data-version", "v1")
    assert ages(destination) == [*range(60)]
    assert [name for name in s3.names() if "/." in name] == []


@pytest.mark.parametrize("writes", range(8))
def test_an_attempt_that_is_killed_is_never_read_and_is_removed_by_the_next(s3: ObjectStore, writes: int) -> None:
    pipeline, destination = declared(f"{s3.uri}/raw.csv"), f"{s3.uri}/prepared"
    words = ["--pipeline", json.dumps(pipeline), "--destination", destination, "--data-version", "v1"]
    s3.put("raw.csv", ROWS.to_csv(index=False).encode())
    killed = subprocess.run([sys.executable, "-c", KILLED, str(writes), *words], check=False)
    assert killed.returncode in (-signal.SIGKILL, 0)
    published = "prepared/v1/report.json" in s3.names()
    if published:
        assert ages(destination) == [*range(60)]
    else:
        with pytest.raises(ConfigurationError, match=r"has no report\.json"):
            dataset.Version(f"{destination}/v1")
    # Its sources have changed since, but not its name, which a plan gave.
    s3.put("raw.csv", ROWS[:40].to_csv(index=False).encode())
    run(pipeline, destination, "--data-version", "v1")
    assert ages(destination) == [*range(60 if published else 40)]
    listed = [file["name"] for file in json.loads(s3.get("prepared/v1/report.json"))["files"]]
    names = [f"prepared/v1/{name}" for name in [*listed, *ABOUT, "report.json"]]
    assert s3.names() == sorted([*names, "prepared/latest.json", "raw.csv"])
    for name in ABOUT:
        [own] = [each for each in listed if each.endswith(f"/{name}")]
        assert s3.get(f"prepared/v1/{name}") == s3.get(f"prepared/v1/{own}")


def test_of_two_attempts_at_once_one_is_published_whole(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    two_attempts_at_once(f"{store.uri}/prepared", f"{store.uri}/raw", store.put, monkeypatch)
    listed = {file["name"] for file in json.loads(store.get("prepared/v1/report.json"))["files"]}
    there = {name.removeprefix("prepared/v1/") for name in store.names() if name.startswith("prepared/v1/")}
    assert there == {*listed, *ABOUT, "report.json"}


def test_so_it_is_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()

    def put(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)

    two_attempts_at_once(f"{tmp_path}/prepared", f"{tmp_path}/raw", put, monkeypatch)
    assert sorted(path.name for path in (tmp_path / "prepared").iterdir()) == ["latest.json", "v1"]


def two_attempts_at_once(
    destination: str, raw: str, put: Callable[[str, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that began first has written all but its report when the other publishes."""
    for name, rows in (("first", ROWS), ("second", ROWS[:40])):
        put(f"raw/{name}.csv", rows.to_csv(index=False).encode())
    write = Place._write_version

    def slow(*arguments: Any) -> str:
        monkeypatch.setattr(Place, "_write_version", write)
        report = write(*arguments)
        run(declared(f"{raw}/second.csv"), destination, "--data-version", "v1")
        return report

    monkeypatch.setattr(Place, "_write_version", slow)
    run(declared(f"{raw}/first.csv"), destination, "--data-version", "v1")
    assert ages(destination) == [*range(40)]
