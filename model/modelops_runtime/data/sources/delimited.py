"""CSV: read by Arrow; where rows have more or fewer values than the header, by Python's reader, which says which."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from modelops_runtime.data import errors
from modelops_runtime.data.sources.dialect import Dialect, Record, not_encoded, records
from modelops_runtime.data.sources.files import open_content

BLOCK_BYTES = 2**22


def read(file: str, dialect: Dialect, rows: int) -> Iterator[pa.Table]:
    """Rows as text: what is a number is decided over all rows, or by the declaration. Of a file without rows, none
    with its columns. Raises DataError."""
    done, first = 0, True
    for table in _in_pieces(_tables(file, dialect), rows):
        yield _named(file, dialect, table, done)
        done, first = done + len(table), False
    if first:
        yield pa.schema([(name, pa.string()) for name in dialect.names]).empty_table()


def _tables(file: str, dialect: Dialect) -> Iterator[pa.Table]:
    done, last = 0, pa.table({})
    try:
        for batch in _by_arrow(file, dialect):
            yield (last := pa.Table.from_batches([batch]))
            done += len(last)
        _require_closed(file, dialect, last)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        yield from _by_record(file, dialect, done)


def _by_arrow(file: str, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    columns = [str(number) for number in range(len(dialect.columns))]
    with open_content(file, dialect.compression) as stream:
        reader = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                encoding=dialect.encoding.removesuffix("-sig"),
                block_size=BLOCK_BYTES,
                column_names=columns,
                skip_rows=dialect.lines,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=bool(dialect.quote),
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=list(dialect.missing),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        yield from reader


def _by_record(file: str, dialect: Dialect, done: int) -> Iterator[pa.Table]:
    width, missing = len(dialect.columns), set(dialect.missing)
    names = [str(number) for number in range(width)]
    rows = enumerate(_records(file, dialect))
    for some in iter(lambda: list(itertools.islice(rows, 10_000)), []):
        cells = [_cells(file, record, row, dialect) for row, record in some if row >= done]
        columns = zip(*cells, strict=True) if cells else [[]] * width
        arrays = [pa.array([None if cell in missing else cell for cell in column], pa.string()) for column in columns]
        yield pa.Table.from_arrays(arrays, names=names)


def _cells(file: str, record: Record, row: int, dialect: Dialect) -> list[str]:
    width, cells = len(dialect.columns), record.cells
    if len(cells) == width + 1 and cells[-1] == "":
        return cells[:-1]  # the row ends in a delimiter
    if len(cells) == width - 1 and not dialect.columns[-1]:
        return [*cells, ""]  # the header alone ends in one
    if len(cells) != width:
        raise _ragged(file, row, record.first, len(cells), dialect)
    return cells


def _ragged(file: str, row: int, line: int, values: int, dialect: Dialect) -> errors.DataError:
    names = f"{len(dialect.names)} column{'s have' if len(dialect.names) > 1 else ' has'} a name"
    return errors.bad_row(file, row, "(all)", f"has {values} value{'s' if values > 1 else ''}, but {names}", line)


def _require_closed(file: str, dialect: Dialect, last: pa.Table) -> None:
    """Raises DataError when the last value goes on to the end of the file because its quote isn't closed."""
    cells = last.slice(len(last) - 1).to_pylist() if len(last) else []
    if any("\n" in (cell or "") for row in cells for cell in row.values()):
        for _record in _records(file, dialect, strict=True):
            pass


def _records(file: str, dialect: Dialect, *, strict: bool = False) -> Iterator[Record]:
    """The rows after the header. Raises DataError, and Unreadable for another encoding."""
    width = len(dialect.columns)
    with open_content(file, dialect.compression) as stream:
        text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        lines: Iterable[str] = itertools.islice(text, dialect.lines, None)
        try:
            for record in records(lines, dialect.delimiter, dialect.quote, dialect.lines, strict=strict):
                if width == 1 or len(record.cells) > 1 or record.cells[0].strip():
                    yield record
        except UnicodeDecodeError:
            raise not_encoded(file, dialect) from None
        except csv.Error as error:
            if "end of data" in str(error):
                raise errors.unreadable(file, "its last value begins with a quote that isn't closed") from None


def line_of(file: str, dialect: Dialect, row: int) -> int:
    """The line, from 1, where a row begins."""
    return next(itertools.islice(_records(file, dialect), row, None)).first


def _named(file: str, dialect: Dialect, table: pa.Table, first: int) -> pa.Table:
    """Without columns that have no name; they must be empty."""
    for number, name in enumerate(dialect.columns):
        if not name and table.column(number).null_count < len(table):
            row = first + pc.index(pc.is_valid(table.column(number)), True).as_py()
            raise _ragged(file, row, line_of(file, dialect, row), len(dialect.columns), dialect)
    named = table.select([number for number, name in enumerate(dialect.columns) if name])
    return named.rename_columns(dialect.names)


def _in_pieces(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """So many rows at a time, however they come."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(map(len, pending)) >= rows:
            joined = pa.concat_tables(pending)
            whole = len(joined) - len(joined) % rows
            for start in range(0, whole, rows):
                yield joined.slice(start, rows)
            pending = [joined.slice(whole)]
    if rest := [table for table in pending if len(table)]:
        yield pa.concat_tables(rest)
