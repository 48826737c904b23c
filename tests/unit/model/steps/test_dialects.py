"""How text files are written: declared, found out, or refused in words where there is a doubt."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError, Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import DataError

PLAIN = b"id,age\n0,20\n1,21\n"
SIGNS = ",;|\t\"' \n\rab1.\u00e9"


def run(folder: Path, content: bytes, name: str = "x.csv", **fields: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows, and the report's entry for the source."""
    (folder / name).write_bytes(content)
    context = Context()
    pipeline = Pipeline.parse({"sources": [{"uri": str(folder / name), **fields}], "steps": [{"split": {}}]})
    rows = pipeline.whole(context, lambda _line: None)
    return rows, next(entry for entry in context.report if "source" in entry)


def refused(folder: Path, content: bytes, match: str, **fields: Any) -> Exit:
    with pytest.raises(DataError, match=match) as caught:
        run(folder, content, **fields)
    return Exit(caught.value.code)


@pytest.mark.parametrize(
    "content",
    [
        b"id,age,y\n0,20,0,\n1,21,1,\n",
        b"id,age,y,\n0,20,0,\n1,21,1,\n",
        b"id,age,y\n0,20,0,\n1,21,1\n",
        b"id,age,y\n0,20,0\n1,21,1,\n",
        b"id;age;y\r\n0;20;0;\r\n1;21;1;\r\n",
    ],
    ids=["rows", "header and rows", "first row", "last row", "semicolons"],
)
def test_rows_that_end_in_a_delimiter_have_no_more_columns(tmp_path: Path, content: bytes) -> None:
    frame, _report = run(tmp_path, content)
    assert frame.to_dict("list") == {"id": [0, 1], "age": [20, 21], "y": [0, 1]}


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"id,age,y\n0,20,0,7\n1,21,1,\n", r"row 0, .*has 4 values, but 3 columns have a name \(line 2\)"),
        (b"id,age,y,\n0,20,0,\n1,21,1,7\n", r"row 1, .*has 4 values, but 3 columns have a name \(line 3\)"),
        (b"id,age,y\n0,20,0\n\n1,21\n", r"row 1, .*has 2 values, but 3 columns have a name \(line 4\)"),
        (b"id,age,y\n0,20,0,,\n", r"row 0, .*has 5 values, but 3 columns have a name"),
        (b",y\n0,1\n", r"row 0, .*has 2 values, but 1 column has a name"),
    ],
)
def test_other_rows_than_the_header_promises_are_named_with_both_counts(
    tmp_path: Path, content: bytes, where: str
) -> None:
    assert refused(tmp_path, content, where) == Exit.BAD_ROW


def test_what_is_not_declared_is_found_out_and_reported(tmp_path: Path) -> None:
    _frame, report = run(tmp_path, b"\xef\xbb\xbfid;note\n1;a,b\n")
    assert report["declared"] == {}
    assert report["found"]["delimiter"] == ";" and report["found"]["encoding"] == "utf-8-sig"
    assert report["found"]["compression"] == "none" and report["found"]["header"] == 1
    assert report["types"] == {"id": "integer", "note": "text"} and report["inferred"] == ["id", "note"]
    _frame, report = run(tmp_path, b"id;note\n1;a,b\n", delimiter=";", encoding="ascii", types={"id": "text"})
    assert report["declared"] == {"delimiter": ";", "encoding": "ascii"} and report["inferred"] == ["note"]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_delimiters_are_found_out(tmp_path: Path, sign: str) -> None:
    frame, report = run(tmp_path, PLAIN.replace(b",", sign.encode()))
    assert list(frame.columns) == ["id", "age"] and report["found"]["delimiter"] == sign


@pytest.mark.parametrize(
    "content", [b"text; raw\nhello\nhi; you; all\n", b"a,b;c\n1,2;3\n", b"a|b\n1\n2|3\n", b"a\tb\n1\n", b"a,b;c\n1\n"]
)
def test_a_delimiter_in_doubt_is_to_be_declared(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content, r"x\.csv has .* in its first row.*: give delimiter") == Exit.CONFIGURATION


def test_decimal_and_thousands_signs_are_declared(tmp_path: Path) -> None:
    content = b"price;n\n1.234,5;1.000\n-2,5;7\n1234567,25;\n"
    frame, _report = run(tmp_path, content, decimal=",", thousands=".")
    assert frame["price"].tolist() == [1234.5, -2.5, 1234567.25] and frame["n"].tolist()[:2] == [1000, 7]
    for doubtful in (content, b"a;b\n7;x\n1,5;y\n", b"a;b\n;x\n1 234,5;y\n2;z\n", b"a;b\n;x\n1,234.5;y\n2;z\n"):
        assert (
            refused(tmp_path, doubtful, r"row \d, column .*: is a number with a comma.*: give.*decimal") == Exit.BAD_ROW
        )
    assert run(tmp_path, b"a;b\n007;x\n08;y\n")[0]["a"].tolist() == ["007", "08"]
    types = {"price": "text", "n": "text"}
    assert run(tmp_path, content, types=types)[0]["price"].tolist() == ["1.234,5", "-2,5", "1234567,25"]


@pytest.mark.parametrize("value", [b"1.2345,0", b"12.34", b"1,2,3", b".123.456", b"1..234"])
def test_thousands_are_groups_of_three(tmp_path: Path, value: bytes) -> None:
    fields: dict[str, Any] = {"delimiter": ";", "decimal": ",", "thousands": ".", "types": {"a": "number"}}
    assert refused(tmp_path, b"a\n" + value + b"\n", r"row 0, column a: must be", **fields) == Exit.BAD_ROW


def test_words_for_missing_are_declared_or_told(tmp_path: Path) -> None:
    for word in ("NA", "?", "#N/A", "null", "-", "n/a", "NaN", "None"):
        content = f"a,b\n1,x\n{word},y\n".encode()
        assert (
            refused(tmp_path, content, r"row 1, column a: is not a finite number.*missing.*\(line 3\)") == Exit.BAD_ROW
        )
        frame, _report = run(tmp_path, content, missing=["", word])
        assert frame["a"].isna().tolist() == [False, True]
    frame, _report = run(tmp_path, b"a,b\nNA,x\nOK,y\n")
    assert frame["a"].tolist() == ["NA", "OK"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_unicode_are_found_out(tmp_path: Path, encoding: str) -> None:
    text = "naïve – name,b\nÉcole — “x”,1\n" + "zwölf,2\n" * 3
    frame, report = run(tmp_path, text.encode(encoding))
    assert frame["naïve – name"].tolist()[:2] == ["École — “x”", "zwölf"] and frame["b"].sum() == 7
    assert report["found"]["encoding"] == encoding


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_another_encoding_is_to_be_declared(tmp_path: Path, format_: str) -> None:
    text = "label,n\na – b,1\n" if format_ == "csv" else '{"label": "x", "n": 1}\n{"label": "a – b", "n": 1}\n'
    content = text.encode("cp1252")
    refused(tmp_path, content, "it is not UTF-8 in line 2: give its encoding", format=format_)
    frame, _report = run(tmp_path, content, format=format_, encoding="cp1252")
    assert frame["label"].tolist()[-1] == "a – b"


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("inner.csv", content)
    return stream.getvalue()


def with_zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zip", zipped), (".zst", with_zstd)],
)
def test_compression_is_found_by_the_name_and_declared_otherwise(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    frame, report = run(tmp_path, compress(PLAIN), f"x.csv{suffix}")
    kind = report["found"]["compression"]
    assert frame["age"].tolist() == [20, 21] and kind != "none"
    assert refused(tmp_path, compress(PLAIN), rf"is compressed: give compression \({kind}\)") == Exit.CONFIGURATION
    assert run(tmp_path, compress(PLAIN), compression=kind)[0].equals(frame)
    (tmp_path / "cut").mkdir()
    with pytest.raises(DataError, match="its compression is another, or it is cut off"):
        run(tmp_path / "cut", compress(PLAIN * 200)[:-9], f"x.csv{suffix}")
    with pytest.raises(DataError, match="its compression is another, or it is cut off"):
        run(tmp_path / "cut", PLAIN, f"x.csv{suffix}")


def test_a_file_may_have_no_header_or_other_lines_before_it(tmp_path: Path) -> None:
    assert run(tmp_path, b"0,20\n1,21\n", header=0, names=["id", "age"])[0]["age"].tolist() == [20, 21]
    assert run(tmp_path, b"made by hand\n\n" + PLAIN, header=3)[0]["age"].tolist() == [20, 21]
    assert run(tmp_path, b",age\n0,20\n1,21\n", names=["id", "age"])[0]["age"].tolist() == [20, 21]
    with pytest.raises(ConfigurationError, match="names must be given where there is no header"):
        run(tmp_path, PLAIN, header=0)


def test_quotes_are_declared(tmp_path: Path) -> None:
    assert run(tmp_path, b"a,b\n1,'x,''y'\n", quote="'")[0]["b"].tolist() == ["x,'y"]
    assert run(tmp_path, b'a,b\n1,"x\n2,y"\n', quote="")[0]["b"].tolist() == ['"x', 'y"']
    refused(tmp_path, b'a,b\n1,"x\n2,y\n', "its last value begins with a quote that isn't closed")


def test_a_column_that_is_written_otherwise_is_told(tmp_path: Path) -> None:
    for there, asked in ((" age", "age"), ("Age", "age"), ("e\u0301cole", "\u00e9cole")):
        with pytest.raises(DataError, match="other blanks, capitals or Unicode forms") as caught:
            run(tmp_path, f"{there}\n1\n".encode(), types={asked: "number"})
        assert caught.value.code == Exit.MISSING_COLUMN


def test_what_belongs_to_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="delimiter must be given with format: csv alone"):
        run(tmp_path, b"", format="parquet", delimiter=";")
    with pytest.raises(ConfigurationError, match="must be an encoding that Python knows"):
        run(tmp_path, PLAIN, encoding="nonsense")


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(SIGNS, max_size=5), min_size=2, max_size=2).filter(any), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    trailing=st.booleans(),
)
def test_every_text_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, end: str, trailing: bool
) -> None:
    """The same by Arrow's reader and, with a row that ends in a delimiter, by Python's."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["p", "q"], *rows])
    text = stream.getvalue() + (f"x{delimiter}y{delimiter}{end}" if trailing else "")
    types = {"p": "text", "q": "text"}
    frame, _report = run(tmp_path_factory.mktemp("csv"), text.encode(), delimiter=delimiter, types=types)
    expected = rows + ([["x", "y"]] if trailing else [])
    assert frame.fillna("").to_numpy().tolist() == expected


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(st.sampled_from(["x", "two\nlines", "three\r\nmore\nlines", ""]), max_size=8),
    blanks=st.lists(st.integers(0, 2), min_size=9, max_size=9),
    prelude=st.integers(0, 2),
    header=st.sampled_from(["text", "a\ntext"]),
    ragged=st.booleans(),
)
def test_an_error_counts_lines_as_an_editor_does(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[str],
    blanks: list[int],
    prelude: int,
    header: str,
    ragged: bool,
) -> None:
    text = "made by hand\n" * prelude + f'"{header}",n\n'
    for number, cell in enumerate(before):
        text += "\n" * blanks[number] + f'"{cell}",1' + ("," if ragged and number == 0 else "") + "\n"
    text += "\n" * blanks[8]
    line = text.count("\n") + 1
    folder = tmp_path_factory.mktemp("csv")
    rule = rf"x\.csv, row {len(before)}, column n: must be of the type number \(line {line}\)"
    refused(folder, f"{text}y,oops\nz,1\n".encode(), rule, header=prelude + 1, types={"n": "number"})
    rule = rf"x\.csv, row {len(before)}, .*has 3 values, but 2 columns have a name \(line {line}\)"
    refused(folder, f"{text}y,1,1\nz,1\n".encode(), rule, header=prelude + 1)


def test_a_value_is_found_in_any_chunk(tmp_path: Path) -> None:
    """Also where the second reader takes over in the middle of the file."""
    rows = [f"name {number},{number}" for number in range(200_000)]
    rows[150_000] += ","
    frame, _report = run(tmp_path, "\n".join(["who,n", *rows]).encode())
    assert frame["n"].tolist() == list(range(200_000)) and frame["who"].iloc[-1] == "name 199999"
    rows[170_001] = "who,oops"
    types = {"who": "text", "n": "integer"}
    refused(tmp_path, "\n".join(["who,n", *rows]).encode(), r"row 170001, column n.*\(line 170003\)", types=types)


def test_a_value_may_be_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    long = "x" * 5_000_000
    frame, _report = run(tmp_path, f'a,b\n1,"{long}"\n2,y\n'.encode())
    assert frame["b"].tolist() == [long, "y"]
