"""A registry that means harm: a fetch ends with one readable reason, and nothing comes to lie outside the folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.paths import inside
from modelops_runtime.contract import ContractError
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.sources import client
from tests.unit.model.test_fetch import ARTIFACTS, FakeRegistry, Reply, contract, serving_registry

DOWNLOAD = "artifacts/model/"
MARK = {"path": "MLmodel", "is_dir": False, "file_size": 11}
MODEL = b"flavors: {}"


def file(path: Any, size: Any = 1) -> dict[str, Any]:
    return {"path": path, "is_dir": False, "file_size": size}


def folder(path: str) -> dict[str, Any]:
    return {"path": path, "is_dir": True}


class Hostile(FakeRegistry):
    """Gives something for any name that it is asked for."""

    def reply(self, target: str) -> Reply:
        if DOWNLOAD not in target:
            return super().reply(target)
        name = target.rpartition("/")[2]
        return 200, {"MLmodel": MODEL, "weights": b"w" * 10_000}.get(name, b"x")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setattr("tests.unit.model.test_fetch.FakeRegistry", Hostile)
    with serving_registry(tmp_path / "nothing") as made:
        yield made


def lists(registry: FakeRegistry, *entries: Any) -> None:
    registry.replies[ARTIFACTS] = lambda: (200, json.dumps({"files": [MARK, *entries]}).encode())


def refusal(registry: FakeRegistry, tmp_path: Path) -> str:
    """The reason of a fetch that fails, whatever else."""
    with pytest.raises(ContractError) as caught:
        fetch(contract(registry, tmp_path / "pod", max_bytes=1000))
    return str(caught.value)


OUTSIDE = {
    "up": "../outside",
    "up from a folder": "a/../../outside",
    "of the root": "/etc/outside",
    "the folder itself": ".",
    "nothing": "",
    "a folder": "a/",
    "an end of text": "a\0b",
    "a new line": "a\nb",
    "half a character": "\ud800",
    "a long name": "a" * 256,
    "a long path": "/".join(["a" * 200] * 6),
}


@pytest.mark.parametrize("name", OUTSIDE.values(), ids=OUTSIDE)
def test_a_name_that_is_no_file_of_the_folder_is_refused(name: str, hostile: FakeRegistry, tmp_path: Path) -> None:
    lists(hostile, file(name))
    assert refusal(hostile, tmp_path).endswith("is not a path inside the model's folder")
    assert [path.name for path in tmp_path.rglob("outside")] == []


@pytest.mark.parametrize("name", ["a b", "ä/ö", "..a", "a..b/c", "~root/x", "..\\b", "-rf", "%2e%2e/x"])
def test_a_name_that_only_looks_odd_is_a_file_of_the_folder(name: str, hostile: FakeRegistry, tmp_path: Path) -> None:
    lists(hostile, file(name))
    fetch(contract(hostile, tmp_path / "pod"))
    assert (tmp_path / "pod" / name).read_bytes() == b"x"


@given(st.one_of(st.text(), st.text(alphabet="./a\\\0"), st.none(), st.integers(), st.lists(st.text())))
@settings(max_examples=500)
def test_any_name_stays_inside_or_is_refused(name: Any) -> None:
    root = Path("/models/one")
    try:
        path = inside(name)
    except ContractError as error:
        assert len(str(error)) < 200 and str(error).isprintable()
    else:
        assert (root / path).resolve().is_relative_to(root) and path.as_posix() == name


ENTRIES = {
    "a text": "MLmodel",
    "a list": [1],
    "null": None,
    "no path": {"is_dir": False},
    "a number for a path": file(5),
    "a negative size": file("x", -1),
    "a size that is no number": file("x", "many"),
    "a size without end": file("x", float("inf")),
    "a list for a size": file("x", [1]),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_that_is_no_file_is_refused(entry: Any, hostile: FakeRegistry, tmp_path: Path) -> None:
    lists(hostile, entry)
    assert any(words in refusal(hostile, tmp_path) for words in ("lists what is no file", "is not a path inside"))


@pytest.mark.parametrize("answer", [{"files": 5}, {"files": {"path": "x"}}, {"files": "MLmodel"}, [], "x", None])
def test_an_answer_that_is_no_listing_is_refused(answer: Any, hostile: FakeRegistry, tmp_path: Path) -> None:
    hostile.replies[ARTIFACTS] = lambda: (200, json.dumps(answer).encode())
    assert refusal(hostile, tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["path", "is_dir", "file_size", "files"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"files": JSON}))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_listing_is_read_or_refused(listing: dict[str, Any]) -> None:
    try:
        found = list(client._entries(listing))
    except ContractError as error:
        assert str(error).isprintable()
    else:
        assert all(isinstance(name, str) and (size is None or size >= 0) for name, size in found)


@pytest.mark.parametrize("name", ["code", "a/b"])
def test_folders_without_end_end(name: str, hostile: FakeRegistry, tmp_path: Path) -> None:
    lists(hostile, folder(name))
    assert "is not a path inside the model's folder" in refusal(hostile, tmp_path)
    assert len(hostile.asked) < client.MOST_FILES / 100


def test_files_without_end_end(hostile: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_FILES", 50)
    lists(hostile, *(file(f"{number}") for number in range(60)))
    assert "has more than 50 files" in refusal(hostile, tmp_path)
    lists(hostile, *(folder(f"{number}") for number in range(60)))
    assert "has more than 50 files" in refusal(hostile, tmp_path)


def test_an_answer_without_end_ends(hostile: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 1000)
    hostile.replies[ARTIFACTS] = lambda: (200, b'{"files": []' + b" " * 1000 + b"}")
    assert "answers with more than 1000 bytes" in refusal(hostile, tmp_path)


def test_a_file_that_goes_on_after_its_end_is_left_there(
    hostile: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CHUNK_BYTES", 10)
    lists(hostile, file("weights", 15))
    assert "weights: 20 bytes came, the registry lists 15" in refusal(hostile, tmp_path)


@pytest.mark.parametrize("entries", [[file("a"), file("a/b")], [file("a/b"), file("a")], [file("MLmodel/x")]])
def test_a_file_that_is_a_folder_too_is_refused(entries: list[Any], hostile: FakeRegistry, tmp_path: Path) -> None:
    lists(hostile, *entries)
    assert "both as a file and as a folder" in refusal(hostile, tmp_path)
