"""Inputs that somebody writes to while they are read: rows of two moments are no version."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.version import state
from tests.stores import ObjectStore, server, store

__all__ = ["server", "store"]

SHARES = pytest.mark.parametrize("words", [(), ("--shards", "2", "--shard", "1"), ("--shards", "2", "--shard", "0")])


def rows(first: int) -> bytes:
    return b"x,y\n" + b"".join(b"%d,%d\n" % (first + number, number % 2) for number in range(40))


def run(uri: str, destination: Path, *words: str) -> None:
    pipeline = {"sources": [{"uri": uri}], "steps": [{"split": {}}]}
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", str(destination), *words])


def meanwhile(monkeypatch: pytest.MonkeyPatch, write: Callable[[], Any]) -> None:
    """Writes when the name is made of the inputs, and their rows are not read yet."""
    for owner, name in ((Pipeline, "version"), (Pipeline, "run_version")):
        made = getattr(owner, name)

        def then_write(self: Pipeline, *given: Any, made: Any = made) -> str:
            named = str(made(self, *given))
            write()
            return named

        monkeypatch.setattr(owner, name, then_write)


def refused(uri: str, destination: Path, file: str, *words: str) -> None:
    with pytest.raises(ContractError, match=f"{file} changed while the inputs were read: prepare again") as caught:
        run(uri, destination, *words)
    assert caught.value.code == Exit.FAILURE, "a retry may help"
    assert not list(destination.rglob("report.json")) and not list(destination.rglob("done-*.json"))


@SHARES
def test_a_file_that_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for number in range(2):
        (tmp_path / f"{number}.csv").write_bytes(rows(number))
    meanwhile(monkeypatch, lambda: (tmp_path / "1.csv").write_bytes(rows(200)))
    refused(f"{tmp_path}/*.csv", tmp_path / "out", r"1\.csv", *words)


@pytest.mark.parametrize("change", ["comes", "goes"])
def test_a_file_that_comes_or_goes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_bytes(rows(number))
    writes = {"comes": lambda: (tmp_path / "3.csv").write_bytes(rows(9)), "goes": (tmp_path / "2.csv").unlink}
    meanwhile(monkeypatch, writes[change])
    refused(f"{tmp_path}/*.csv", tmp_path / "out", {"comes": r"3\.csv", "goes": r"2\.csv"}[change])


@pytest.mark.parametrize("files", [1, 5])
@SHARES
def test_an_object_that_is_written_meanwhile(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], files: int
) -> None:
    for number in range(files):
        store.put(f"raw/{number}.csv", rows(number))
    meanwhile(monkeypatch, lambda: store.put("raw/0.csv", rows(7)))
    refused(f"{store.uri}/raw/*.csv", tmp_path / "out", r"raw/0\.csv", *words)


def test_what_is_known_of_objects_does_not_change_by_itself(store: ObjectStore) -> None:
    for number in range(5):
        store.put(f"raw/{'ab'[number % 2]}/{number} +%20.csv", rows(number))
    files = Source(uri=f"{store.uri}/raw/*/*.csv").files()
    known = state(files)
    assert known == state(files) and [entry[0] for entry in known] == files
    assert all(len(entry) > 2 for entry in known)


def test_a_version_that_is_there_needs_no_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0.csv").write_bytes(rows(0))
    for _ in range(2):
        run(f"{tmp_path}/*.csv", tmp_path / "out", "--data-version", "v1")
        (tmp_path / "0.csv").unlink(missing_ok=True)
    assert "v1 is there already: nothing to do" in capsys.readouterr().out
