"""Data errors, each kind with its own exit code. No message contains a value: it may be personal."""

from modelops_runtime.contract import ContractError, Exit


class DataError(ContractError):
    """A problem with the data; `code` is its kind."""


def bad_row(file: str, row: int, column: str, rule: str) -> DataError:
    """`row` counts from 0, without a header."""
    return DataError(f"{file}, row {row}, column {column}: {rule}", code=Exit.BAD_ROW)


def missing_column(file: str, column: str, there: list[str]) -> DataError:
    """`there` are the columns that the file has."""
    return DataError(f"{file} lacks column {column}; it has {', '.join(there)}", code=Exit.MISSING_COLUMN)


def unreadable(file: str, reason: str) -> DataError:
    return DataError(f"{file} can't be read: {reason}", code=Exit.UNREADABLE)


def empty(what: str) -> DataError:
    return DataError(f"{what} leaves no rows", code=Exit.EMPTY)


def privacy(problem: str) -> DataError:
    return DataError(problem, code=Exit.PRIVACY)


def leak(problem: str) -> DataError:
    return DataError(problem, code=Exit.LEAK)
