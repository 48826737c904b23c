"""Prepared data and checkpoints in real object stores: S3, Google Cloud Storage and Azure Blob Storage."""

import io
import json
from typing import Any

import pandas as pd
import pytest

from modelops_runtime.contract import ContractError, TrainingContract
from modelops_runtime.contract.environment import Environment
from modelops_runtime.data import prepare
from modelops_runtime.training.checkpoint import Checkpoints, Progress
from sample import dataset
from sample.parameters import Parameters
from tests.stores import ObjectStore, server, store

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
