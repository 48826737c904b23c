"""Sources of every kind."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelops_runtime.contract import Exit
from modelops_runtime.data.context import place
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import DataError

FRAME = pd.DataFrame({"a": [1.5, 2.0, None], "b": ["x", "y", None]})


def read(source: Source, rows: int = 2) -> pd.DataFrame:
    return pd.concat(chunks(source, source.files(), rows=rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FRAME.to_csv(tmp_path / "data.csv", index=False)
    FRAME.to_parquet(tmp_path / "data.parquet")
    FRAME.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    with sqlite3.connect(tmp_path / "data.db") as connection:
        FRAME.to_sql("t", connection, index=False)
    connection.close()
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


TYPES = {"a": "number", "b": "text"}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_files_are_read_alike(folder: Path, kind: str) -> None:
    types = TYPES if kind != "parquet" else {}
    frame = read(Source(uri=f"{folder}/data.{kind}", format=kind, types=types))
    assert frame["a"].tolist()[:2] == [1.5, 2.0] and frame["b"].tolist()[:2] == ["x", "y"]
    assert frame.iloc[2].isna().all()
    assert list(frame.index) == [place(0, 0), place(0, 1), place(0, 2)]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_files_are_read_over_http(url: str, kind: str) -> None:
    frame = read(Source(uri=f"{url}/data.{kind}", format=kind, types=TYPES if kind != "parquet" else {}))
    assert frame["a"].tolist()[:2] == [1.5, 2.0]


def test_a_query_is_read(folder: Path) -> None:
    source = Source(uri=f"sqlite:///{folder}/data.db", format="sql", query="SELECT a FROM t WHERE a > 1 ORDER BY a")
    assert read(source)["a"].tolist() == [1.5, 2.0]
    assert len(source.digest()) == 64


def test_a_failed_query_shows_neither_statement_nor_password() -> None:
    source = Source(uri="sqlite:////nowhere/secret.db", format="sql", query="SELECT hidden FROM t")
    with pytest.raises(DataError) as caught:
        read(source)
    assert caught.value.code == Exit.UNREADABLE and "hidden" not in str(caught.value)


def test_folders_of_images_are_rows_with_labels(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "1.png"), np.zeros((4, 4, 3), dtype="uint8"))
    (tmp_path / "readme.txt").write_text("no image")
    frame = read(Source(uri=str(tmp_path), format="images"))
    assert frame["label"].tolist() == ["cat", "dog"]
    assert frame["uri"].str.endswith("1.png").all()


def test_a_pattern_names_several_files_in_order(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"{number}.csv").write_text(f"a\n{number}\n")
    frame = read(Source(uri=f"{tmp_path}/*.csv"))
    assert frame["a"].tolist() == [1, 2]
    assert list(frame.index) == [place(0, 0), place(1, 0)]


@pytest.mark.parametrize(
    ("name", "content", "kind", "code"),
    [
        ("gone.csv", None, "csv", Exit.UNREADABLE),
        ("none-*.csv", None, "csv", Exit.UNREADABLE),
        ("bad.parquet", b"no parquet", "parquet", Exit.UNREADABLE),
        ("bad.csv", b"a,b\n1\n1,2,3,4\n", "csv", Exit.BAD_ROW),
        ("latin.csv", b"a\n\xff\xfe\n", "csv", Exit.UNREADABLE),
        ("bad.jsonl", b'{"a": 1}\n{"a": \n', "jsonl", Exit.BAD_ROW),
        ("list.jsonl", b"[1]\n", "jsonl", Exit.BAD_ROW),
        ("deep.jsonl", b"[" * 100_000, "jsonl", Exit.BAD_ROW),
        ("half.jsonl", b'{"a": "\\ud83d"}\n', "jsonl", Exit.BAD_ROW),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, kind: str, code: Exit) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(Source(uri=f"{tmp_path}/{name}", format=kind))
    assert caught.value.code == code and name in str(caught.value)


def test_a_value_of_another_type_names_file_row_and_column_but_not_the_value(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,x\n2,y\nhidden,z\n")
    with pytest.raises(DataError, match=r"x\.csv, row 2, column a: must be of the type number") as caught:
        read(Source(uri=f"{tmp_path}/x.csv", types={"a": "number"}))
    assert caught.value.code == Exit.BAD_ROW and "hidden" not in str(caught.value)


def test_a_declared_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="lacks column b; it has a") as caught:
        read(Source(uri=f"{tmp_path}/x.csv", types={"b": "number"}))
    assert caught.value.code == Exit.MISSING_COLUMN


def test_an_object_may_lack_a_name(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"a": 1}) + "\n" + json.dumps({"b": 2}) + "\n")
    frame = read(Source(uri=f"{tmp_path}/x.jsonl", format="jsonl", types={"a": "number", "b": "number"}), rows=1)
    assert frame["a"].isna().tolist() == [False, True] and list(frame.columns) == ["a", "b"]


def test_the_digest_follows_the_content_and_not_the_folder(tmp_path: Path) -> None:
    digests = []
    for folder, content in (("one", "a\n1\n"), ("two", "a\n1\n"), ("three", "a\n2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(content)
        digests.append(Source(uri=f"{tmp_path}/{folder}/x.csv").digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_query_belongs_to_sql() -> None:
    with pytest.raises(ValueError, match="query must be given with format: sql"):
        Source(uri="x.csv", query="SELECT 1")


def test_json_lines_may_have_a_mark_at_their_beginning_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\n \n\n[]')
    with pytest.raises(DataError, match=r"file://.*x\.jsonl, row 2, column \(all\): must be a JSON object a line"):
        read(Source(uri=f"{tmp_path}/x.jsonl", format="jsonl"))
    (tmp_path / "x.jsonl").write_bytes((tmp_path / "x.jsonl").read_bytes().removesuffix(b"[]"))
    assert read(Source(uri=f"{tmp_path}/x.jsonl", format="jsonl"))["a"].tolist() == [1, 2]


def test_a_file_in_another_encoding_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes('{"a": "café"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"can't be read: it is not UTF-8"):
        read(Source(uri=f"{tmp_path}/x.jsonl", format="jsonl"))


def test_dictionaries_of_parquet_are_read_as_their_values(tmp_path: Path) -> None:
    encoded = pa.array(["a", "b", None, "a"]).dictionary_encode()
    pq.write_table(pa.table({"a": encoded, "b": pa.array([1, 2, 3, 4], pa.float16())}), tmp_path / "x.parquet")
    frame = read(Source(uri=f"{tmp_path}/x.parquet", format="parquet"))
    assert frame["a"].dtype == "str" and frame["b"].dtype == "float32"
    assert frame["a"].fillna("none").tolist() == ["a", "b", "none", "a"]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet has column a twice") as caught:
        read(Source(uri=f"{tmp_path}/x.parquet", format="parquet"))
    assert caught.value.code == Exit.CONFIGURATION


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_server_that_refuses_is_named(status: int) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for kind in ("csv", "jsonl", "parquet"):
            source = Source(uri=f"http://127.0.0.1:{server.server_port}/x", format=kind)
            for ask in (source.digest, lambda source=source: read(source)):
                with pytest.raises(DataError, match=r"/x can't be read") as caught:
                    ask()
                assert caught.value.code == Exit.UNREADABLE
        server.shutdown()
