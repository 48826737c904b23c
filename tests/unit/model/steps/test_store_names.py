"""What object stores have that a disk doesn't: objects that stand for folders, names that aren't paths, long listings;
and which files a pattern names, there and on a disk."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelops_runtime.contract import Exit
from modelops_runtime.data.errors import DataError
from modelops_runtime.data.sources.source import Source
from tests.stores import KINDS, ObjectStore, running, server, store

__all__ = ["server", "store"]

CSV = b"x,y\n1,2\n"


def files(uri: str, format_: str = "csv") -> list[str]:
    """The names that a source's files have below `raw/`."""
    return [file.partition("raw/")[2] for file in Source(uri=uri, format=format_).files()]  # type: ignore[arg-type]


def refused(uri: str, format_: str = "csv") -> str:
    with pytest.raises(DataError) as caught:
        Source(uri=uri, format=format_).digest()  # type: ignore[arg-type]
    assert caught.value.code == Exit.UNREADABLE
    return str(caught.value)


@pytest.fixture(params=KINDS)
def own_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """One that nobody has to empty: obstore doesn't delete what it doesn't write."""
    with running(request.param, tmp_path) as made:
        for variable, value in made.variables.items():
            monkeypatch.setenv(variable, value)
        yield made


def test_an_object_that_stands_for_a_folder_is_no_file(own_store: ObjectStore) -> None:
    store = own_store
    for key in ("raw/", "raw/cat/", "raw/cat.png/", "raw/part.csv/", "raw/part.csv/sub/"):
        store.put_as_written(key)
    for name in ("cat/1.png", "dog/1.png", "all.csv", "part.csv/part-0"):
        store.put(f"raw/{name}", CSV)
    assert files(f"{store.uri}/raw", "images") == ["cat/1.png", "dog/1.png"]
    assert Source(uri=f"{store.uri}/raw", format="images").found()["other_files"] == 2
    assert files(f"{store.uri}/raw/*") == files(f"{store.uri}/raw/*.csv") == ["all.csv"]
    assert files(f"{store.uri}/raw/*/*") == ["cat/1.png", "dog/1.png", "part.csv/part-0"]


@pytest.mark.parametrize("key", ["raw//a.csv", "raw/a\tb.csv"])
def test_a_name_that_obstore_does_not_read_is_told_and_not_left_out(own_store: ObjectStore, key: str) -> None:
    if own_store.uri.startswith("s3:") and "//" in key:
        pytest.skip("versitygw keeps it on a disk, which has no such name")
    own_store.put("raw/b.csv", CSV)
    own_store.put_as_written(key, CSV)
    assert "a name there has an empty part, . or .. as a part, or a control character" in refused(
        f"{own_store.uri}/raw/*.csv"
    )


def test_an_empty_object_is_a_file(store: ObjectStore) -> None:
    store.put("raw/empty.csv", b"")
    assert files(f"{store.uri}/raw/*.csv") == ["empty.csv"]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_a_prefix_in_place_of_a_file_is_told(store: ObjectStore, format_: str) -> None:
    store.put("raw/a/1.csv", CSV)
    for uri in (f"{store.uri}/raw/a", f"{store.uri}/raw/a/", store.uri):
        assert "it is a folder: name its files" in refused(uri, format_)


def test_a_file_in_place_of_a_folder_of_images_is_told(store: ObjectStore) -> None:
    store.put("raw/cat/1.png", CSV)
    assert "it is a file, must be a folder" in refused(f"{store.uri}/raw/cat/1.png", "images")


@pytest.mark.parametrize("key", ["raw//a.csv", "raw/./a.csv", "raw/a\tb.csv"])
def test_a_name_that_is_no_path_is_told(store: ObjectStore, key: str) -> None:
    assert "a name there has an empty part" in refused(f"{store.uri}/{key}")


@pytest.mark.parametrize("name", ["nothing.csv", "no/folder/*.csv"])
def test_what_is_not_there_is_told_without_a_traceback(
    store: ObjectStore, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(f"{store.uri}/{name}").endswith("can't be read: there is no such file")
    gc.collect()
    assert capsys.readouterr().err == ""


def test_a_listing_of_many_pages_is_whole(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"raw/{number:04}.csv", CSV), range(1050)))
    assert files(f"{store.uri}/raw/*.csv") == [f"{number:04}.csv" for number in range(1050)]


def test_a_pattern_matches_what_it_matches_in_a_shell(tmp_path: Path) -> None:
    names = ("a.csv", ".a.csv", "b/a.csv", "b/c/a.csv", ".checkpoints/a.csv", "linked/a.csv", "a.csv.bak", "b/a+b.csv")
    for name in names:
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(CSV)
    (tmp_path / "raw" / "link").symlink_to(tmp_path / "raw" / "linked")
    matches = {
        "*.csv": ["a.csv"],
        ".*.csv": [".a.csv"],
        "*/a.csv": ["b/a.csv", "link/a.csv", "linked/a.csv"],
        "?/*": ["b/a+b.csv", "b/a.csv"],
        "*/?/*": ["b/c/a.csv"],
        "b/*+*": ["b/a+b.csv"],
        ".checkpoints/*": [".checkpoints/a.csv"],
    }
    for pattern, expected in matches.items():
        assert files(f"{tmp_path}/raw/{pattern}") == expected, pattern
