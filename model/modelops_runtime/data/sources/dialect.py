"""How a text file is written: as declared, and what isn't declared found out from its beginning."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modelops_runtime.data import errors, nested
from modelops_runtime.data.sources.column_types import Numerals
from modelops_runtime.data.sources.files import MAGIC, SUFFIXES, Compression, Unreadable, open_content

HEAD_BYTES = 2**18
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_MOST_RECORDS = 1000
_OF_WORKBOOKS = (b"[Content_Types].xml", b"xl/", b"mimetypeapplication/vnd.oasis")
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n?')
"""A first line by which Excel is told the delimiter, and which it writes itself."""


class Writing(BaseModel):
    """What a source may say of how its files are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Of CSV: what is between two values. Not given: comma, semicolon, tab or bar, as the beginning shows."""
    quote: str = Field(default='"', max_length=1)
    """Of CSV: what is around a value that has a delimiter or a line break; twice in it, it stands for itself. Empty:
    no value is quoted."""
    header: int = Field(default=1, ge=0)
    """Of CSV: the line with the columns' names, from 1; lines before it are left out. 0: none, but `names`."""
    names: list[str] = []
    """Of CSV: the columns' names, in place of the header's."""
    decimal: str = Field(default=".", min_length=1, max_length=1)
    """Of CSV: the decimal sign."""
    thousands: str = Field(default="", max_length=1)
    """Of CSV: what is between groups of three digits; empty: nothing."""
    missing: list[str] | None = None
    """Words for a missing value, as `["", "NA", "?"]`. Not given: of CSV, the empty text; of JSON lines, none but
    null."""
    encoding: str | None = None
    """Of CSV and JSON lines: by Python's name (`cp1252`, `utf-16`). Not given: UTF-8, or what the file's mark says."""
    compression: Compression | None = None
    """Of CSV and JSON lines. Not given: by the name's end (.gz, .bz2, .xz, .zip, .zst), or none."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            return value and codecs.lookup(value).name
        except LookupError:
            raise ValueError("must be an encoding that Python knows, such as cp1252") from None

    @model_validator(mode="after")
    def _signs_differ(self) -> "Writing":
        if self.delimiter is not None and self.delimiter in (self.quote, self.thousands):
            raise ValueError("delimiter must differ from quote and thousands")
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must differ")
        if self.header == 0 and not self.names:
            raise ValueError("names must be given where there is no header")
        if len(set(self.names)) < len(self.names) or "" in self.names:
            raise ValueError("names must differ, and none may be empty")
        return self

    def numerals(self, format_: str) -> Numerals:
        missing = self.missing if self.missing is not None else [""] if format_ == "csv" else []
        return Numerals(self.decimal, self.thousands, tuple(missing))


@dataclass(frozen=True)
class Dialect:
    """How one file is written."""

    encoding: str
    compression: Compression
    delimiter: str = ""
    quote: str = ""
    columns: tuple[str, ...] = ()
    """The header's names, or those that were given; empty for a column without one."""
    lines: int = 0
    """Lines up to the end of the header."""
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [name for name in self.columns if name]

    def report(self, declared: Writing, format_: str) -> dict[str, Any]:
        """What was declared, and what was found out."""
        own = ("delimiter", "encoding", "compression") if format_ == "csv" else ("encoding", "compression")
        shared = ("quote", "header", "decimal", "thousands") if format_ == "csv" else ()
        used = {name: getattr(self, name) for name in own} | {name: getattr(declared, name) for name in shared}
        used["missing"] = list(self.missing)
        said = {name for name in used if name in declared.model_fields_set and getattr(declared, name) is not None}
        return {
            "declared": {name: used[name] for name in used if name in said},
            "found": {name: used[name] for name in used if name not in said},
        }


class Record(NamedTuple):
    """A row of CSV, with its first and its last line."""

    first: int
    last: int
    cells: list[str]


def records(
    lines: Iterable[str], delimiter: str, quote: str, after: int = 0, *, strict: bool = False
) -> Iterator[Record]:
    """The rows but for empty lines. Raises csv.Error; `strict`: also where the last quote isn't closed."""
    csv.field_size_limit(2**31 - 1)
    quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quotechar": None, "quoting": csv.QUOTE_NONE}
    reader = csv.reader(lines, delimiter=delimiter, strict=strict, **quoting)
    last = after
    for cells in reader:
        first, last = last + 1, after + reader.line_num
        if cells:
            yield Record(first, last, cells)


def find(file: str, declared: Writing, format_: str) -> Dialect:
    """Raises DataError where the beginning leaves a doubt, and what reading raises."""
    by_suffix = next((kind for suffix, kind in SUFFIXES.items() if file.lower().endswith(suffix)), "none")
    compression: Compression = declared.compression or by_suffix  # type: ignore[assignment]
    with open_content(file, compression) as stream:
        head = stream.read(HEAD_BYTES)
        whole = len(head) < HEAD_BYTES
    if head.startswith(b"PK\x03\x04") and any(name in head for name in _OF_WORKBOOKS):
        raise errors.doubt(file, "is an Excel workbook: save its sheet as CSV")
    if head.startswith(_OLD_WORKBOOK):
        raise errors.doubt(file, "is an Excel workbook of before 2007: save its sheet as CSV")
    if compression == "none" and (kind := next((MAGIC[sign] for sign in MAGIC if head.startswith(sign)), None)):
        raise errors.doubt(file, f"is compressed: give compression ({kind})")
    if format_ == "csv" and head.startswith(b"PAR1"):
        raise errors.doubt(file, "is Parquet: give format: parquet")
    encoding = _encoding(head, declared.encoding)
    dialect = Dialect(encoding, compression, missing=declared.numerals(format_).missing)
    if format_ != "csv":
        return dialect
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, final=whole)
    except UnicodeDecodeError:
        raise not_encoded(file, dialect) from None
    lines = io.StringIO(text, newline="").readlines()
    if is_object(next((line for line in lines if line.strip()), "")):
        raise errors.doubt(file, "begins with a JSON object: give format: jsonl")
    return _of_csv(dialect, file, lines if whole else lines[:-1] or lines, declared)


def _of_csv(dialect: Dialect, file: str, lines: list[str], declared: Writing) -> Dialect:
    before = max(declared.header - 1, 0)
    said = _SEPARATOR.fullmatch(lines[0]) if lines and declared.header == 1 else None
    before += 1 if said else 0
    delimiter = declared.delimiter or (said[1] if said else _delimiter(file, lines[before:], declared))
    dialect = replace(dialect, delimiter=delimiter, quote=declared.quote)
    if declared.header == 0:
        return replace(dialect, columns=tuple(declared.names))
    header = next(records(lines[before:], delimiter, declared.quote, before), None)
    if header is None:
        raise errors.empty(f"{file}, which has no header,")
    names = list(declared.names or header.cells)
    if names != header.cells and len(header.cells) - len(names) not in ((0, 1) if header.cells[-1] == "" else (0,)):
        raise errors.doubt(file, f"has {len(header.cells)} names in its header, the source's names are {len(names)}")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise errors.doubt(file, f"has column {twice[0]} twice")
    return replace(dialect, columns=tuple(names + header.cells[len(names) :]), lines=header.last)


def is_object(line: str) -> bool:
    """Whether a line is a JSON object."""
    try:
        return isinstance(nested.parsed(line), dict)
    except ValueError:
        return False


def _encoding(head: bytes, declared: str | None) -> str:
    """By the mark at the beginning; without one by the zeros that UTF-16 has beside ASCII; else UTF-8."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if declared is not None:
        family = {"utf-8-sig": ("utf-8",), "utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}
        return marked if marked is not None and declared in family[marked] else declared
    if marked is not None:
        return marked
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half, other = head[first::2], head[1 - first :: 2]
        if half.count(0) > len(half) // 2 and other.count(0) == 0:
            return name
    return "utf-8"


def not_encoded(file: str, dialect: Dialect) -> Unreadable:
    """The error for a file with bytes that its encoding lacks, with the first line that has some."""
    name = "UTF-8" if dialect.encoding in ("utf-8", "utf-8-sig") else dialect.encoding
    return Unreadable(f"it is not {name} in line {_wrong_line(file, dialect)}: give its encoding, such as cp1252")


def _wrong_line(file: str, dialect: Dialect) -> int:
    decoder = codecs.getincrementaldecoder(dialect.encoding)()
    before = 0
    with open_content(file, dialect.compression) as stream:
        for line in stream:
            try:
                decoder.decode(line)
            except UnicodeDecodeError:
                break
            before += 1
    return before + 1


def _delimiter(file: str, lines: list[str], declared: Writing) -> str:
    """The one sign that divides the header and all rows of the beginning alike. Raises DataError: there is a doubt."""

    def beginning(sign: str, count: int) -> list[list[str]]:
        rows = records(lines, sign, declared.quote)
        return [record.cells for record in itertools.islice(rows, count)]

    others = (declared.quote, declared.decimal, declared.thousands)
    dividing = [sign for sign in _DELIMITERS if sign not in others for cells in beginning(sign, 1) if len(cells) > 1]
    if dividing in ([], [","]):
        return ","
    alike = [sign for sign in dividing if _are_alike(beginning(sign, _MOST_RECORDS))]
    if len(alike) == 1:
        return alike[0]
    signs = " and ".join(_DELIMITERS[sign] for sign in dividing)
    raise errors.doubt(file, f"has {signs} in its first row, so that its columns are in doubt: give delimiter")


def _are_alike(rows: list[list[str]]) -> bool:
    """Whether all rows have as many values as the first; one may end in a delimiter, and so may the first alone."""
    fewer = {-1} if rows[0][-1] == "" else set[int]()
    return all(len(cells) - len(rows[0]) in {0, *fewer, *([1] if cells[-1] == "" else [])} for cells in rows)
