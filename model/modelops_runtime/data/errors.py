"""Data errors, each kind with its own exit code. No message contains a value: it may be personal."""

import unicodedata

from modelops_runtime.contract import ContractError, Exit


class DataError(ContractError):
    """A problem with the data; `code` is its kind."""


def bad_row(file: str, row: int, column: str, rule: str, line: int | None = None) -> DataError:
    """`row` counts from 0, without a header; `line` as an editor counts, where that is known."""
    where = f" (line {line})" if line is not None else ""
    return DataError(f"{file}, row {row}, column {column}: {rule}{where}", code=Exit.BAD_ROW)


def missing_column(file: str, column: str, there: list[str]) -> DataError:
    """`there` are the columns that the file has."""
    alike = next((name for name in there if _plainly(name) == _plainly(column)), None)
    hint = f"; {alike!r} has other blanks, capitals or Unicode forms" if alike is not None else ""
    return DataError(f"{file} lacks column {column}; it has {', '.join(there)}{hint}", code=Exit.MISSING_COLUMN)


def _plainly(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def no_type(file: str, row: int, column: str, line: int | None = None) -> DataError:
    where = "" if line is None else f" (line {line})"
    return DataError(
        f"{file}, row {row}{where}, column {column} has values of several types, or of one that Parquet lacks, such as"
        " a whole number of more than 64 bits: give it a type in its source",
        code=Exit.BAD_ROW,
    )


def unreadable(file: str, reason: str) -> DataError:
    return DataError(f"{file} can't be read: {reason}", code=Exit.UNREADABLE)


def doubt(file: str, problem: str) -> DataError:
    """What a declaration must say before a file can be read rightly."""
    return DataError(f"{file} {problem}", code=Exit.CONFIGURATION)


def empty(what: str) -> DataError:
    return DataError(f"{what} leaves no rows", code=Exit.EMPTY)


def privacy(problem: str) -> DataError:
    return DataError(problem, code=Exit.PRIVACY)
