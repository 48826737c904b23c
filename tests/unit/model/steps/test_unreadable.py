"""Files and databases that can't be read: each is named, with what to do; and what Excel writes is read."""

import io
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.sources.rows import chunks
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps.split import Split
from modelops_runtime.data.table import InMemory


def frames(file: Path, **fields: Any) -> pd.DataFrame:
    source = Source(uri=str(file), **fields)
    return pd.concat(chunks(source, source.files()))


def refused(file: Path, **fields: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        frames(file, **fields)
    assert file.name.split("?")[0] in str(caught.value)
    return caught.value


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_a_folder_is_told(tmp_path: Path, format_: str) -> None:
    (tmp_path / "folder").mkdir()
    assert "can't be read: it is a folder: name its files" in str(refused(tmp_path / "folder", format=format_))


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PAR1 and then nothing of it PAR1"])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    error = refused(tmp_path / "x.parquet", format="parquet")
    assert "it is not of its source's format, or damaged" in str(error) and error.code == Exit.UNREADABLE


def test_a_damaged_parquet_is_told(tmp_path: Path) -> None:
    pd.DataFrame({"x": [f"text {n}" for n in range(9000)]}).to_parquet(tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:200] + b"\xff" * 3000 + whole[3200:])
    assert "Arrow" not in (text := str(refused(tmp_path / "x.parquet", format="parquet"))) and "OSError" not in text


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
@pytest.mark.parametrize("at", [0, 400_000])
def test_bytes_of_another_encoding_are_told_with_their_line(tmp_path: Path, format_: str, at: int) -> None:
    row = '{"x": "plain"}\n' if format_ == "jsonl" else "plain\n"
    head = "" if format_ == "jsonl" else "x\n"
    lines = at // len(row)
    text = head + row * lines + row.replace("plain", "caf\u00e9 \u00fc")
    (tmp_path / "x").write_bytes(text.encode("latin-1"))
    line = text.count("\n")
    assert f"it is not UTF-8 in line {line}: give its encoding" in str(refused(tmp_path / "x", format=format_))
    found = frames(tmp_path / "x", format=format_, encoding="latin-1")
    assert found["x"].iloc[-1] == "caf\u00e9 \u00fc" and len(found) == lines + 1


def test_a_database_that_does_not_answer_and_a_table_that_is_not_there_are_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").close()
    (tmp_path / "x.db").write_bytes(b"")
    source = Source(uri=f"sqlite:///{tmp_path}/x.db", format="sql", query="SELECT * FROM nothing")
    with pytest.raises(ContractError, match="it can't be reached, refuses this user, or lacks a table") as caught:
        source.digest()
    assert "x.db" in str(caught.value) and caught.value.code == Exit.UNREADABLE


def workbook() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"):
            archive.writestr(name, "<x/>")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_an_excel_workbook_is_told_as_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(workbook())
    assert "is an Excel workbook: save its sheet as CSV" in str(refused(tmp_path / name))


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_by_which_excel_is_told_the_delimiter_is_understood(tmp_path: Path, sign: str, end: str) -> None:
    lines = [f"sep={sign}", f"a{sign}b", f"1{sign}x, y", f"2{sign}z"]
    if sign == ",":
        lines[2] = '1,"x, y"'
    (tmp_path / "x.csv").write_bytes("".join(line + end for line in lines).encode())
    assert frames(tmp_path / "x.csv").to_dict("list") == {"a": [1, 2], "b": ["x, y", "z"]}


@pytest.mark.parametrize("sign", [";", ","])
@pytest.mark.parametrize("more", [{}, {"delimiter": True}])
def test_a_delimiter_at_the_end_of_the_header_alone_is_no_column(
    tmp_path: Path, sign: str, more: dict[str, Any]
) -> None:
    (tmp_path / "x.csv").write_text(f"a{sign}b{sign}\n1{sign}x\n2{sign}y{sign}\n3{sign}\n")
    found = frames(tmp_path / "x.csv", **({"delimiter": sign} if more else {}))
    assert found["a"].tolist() == [1, 2, 3] and found["b"].fillna("").tolist() == ["x", "y", ""]
    (tmp_path / "y.csv").write_text(f"a{sign}b{sign}\n1{sign}x{sign}surplus\n")
    assert "row 0" in str(refused(tmp_path / "y.csv", delimiter=sign))


def test_a_missing_time_is_told_as_missing() -> None:
    frame = pd.DataFrame({"t": ["2024-01-01", None, "2024-01-03"]})
    with pytest.raises(ContractError, match="row 1, column t: is missing, and must be there to split by it"):
        Split(by="time", column="t").parts(InMemory(frame), Context())


@pytest.mark.parametrize("types", [{}, {"b": "text"}])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.struct([("c", pa.string())])])
def test_a_text_of_parquet_that_is_no_unicode_is_named_by_its_row(
    tmp_path: Path, kind: pa.DataType, types: dict[str, Any]
) -> None:
    texts = pa.array([b"x", b"caf\xe9"], pa.binary()).view(pa.string())
    cells = pa.StructArray.from_arrays([texts], ["c"]) if pa.types.is_struct(kind) else texts.view(kind)
    pq.write_table(pa.table({"a": [1, 2], "b": cells}), tmp_path / "x.parquet")
    if kind == pa.binary() and not types:
        found = frames(tmp_path / "x.parquet", format="parquet")
        assert found["b"].tolist() == [b"x", b"caf\xe9"]
        return
    error = refused(tmp_path / "x.parquet", format="parquet", types=types)
    assert "x.parquet, row 1, column b: is not UTF-8" in str(error) and error.code == Exit.BAD_ROW
