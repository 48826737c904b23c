"""The texts that a model is tuned on: a version that `modelops-prepare` made, or a file of JSON lines or Parquet."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modelops_runtime.artifacts import prepared
from modelops_runtime.artifacts.store import is_store
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.copies import copied

HELD_OUT = 10
"""Of a file, which has no split, every tenth row is kept for the test."""
SPLITS = ("train", "validation", "test")
FORMATS = {
    "sft": (("messages",), ("prompt", "completion"), ("text",)),
    "dpo": (("prompt", "chosen", "rejected"), ("chosen", "rejected")),
}
"""Columns of TRL's formats; the first that is there counts."""


def read(uri: str, objective: str, wait_seconds: float) -> dict[str, Any]:
    """The rows by split, as `datasets.Dataset`: `train`, `test`, and `validation` where there is one.

    Raises ConfigurationError where they can't be learned from, ContractError where they can't be reached.
    """
    if not uri:
        raise ConfigurationError("MODELOPS_DATA_URI is not set: there are no texts to learn from")
    folder = copied(uri, wait_seconds) if is_store(uri) else _path(uri)
    splits = _version(folder) if folder.is_dir() else _file(folder)
    for name in ("train", "test"):
        if not len(splits.get(name, ())):
            raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} has no rows in the part {name}")
    columns = _columns(uri, splits["train"].column_names, objective)
    problems = [_problem(rows.data.column(column), column) for rows in splits.values() for column in columns]
    if found := sorted({problem for problem in problems if problem}):
        raise ConfigurationError(*(f"MODELOPS_DATA_URI {uri!r}: column {problem}" for problem in found))
    return {name: rows.select_columns(list(columns)) for name, rows in splits.items() if len(rows)}


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise ConfigurationError(f"MODELOPS_DATA_URI is {uri!r}, must be a path or an address in an object store")
    path = Path(unquote(parts.path))
    if not path.exists():
        raise ConfigurationError(f"MODELOPS_DATA_URI {uri!r} does not exist")
    return path


def _version(folder: Path) -> dict[str, Any]:
    files = {name: [str(file) for file in prepared.rows_of(folder, name)] for name in SPLITS}
    if not files["train"]:
        raise ConfigurationError(f"MODELOPS_DATA_URI: {folder} has no train/*.parquet: it is no version of texts")
    return _loaded("parquet", {name: paths for name, paths in files.items() if paths})


def _file(path: Path) -> dict[str, Any]:
    formats = {".jsonl": "json", ".parquet": "parquet"}
    if path.suffix not in formats:
        raise ConfigurationError(f"MODELOPS_DATA_URI is {str(path)!r}, must be a folder, or end in .jsonl or .parquet")
    rows = _loaded(formats[path.suffix], {"train": [str(path)]})["train"]
    numbers = range(len(rows))
    return {
        "train": rows.select([number for number in numbers if number % HELD_OUT]),
        "test": rows.select(numbers[::HELD_OUT]),
    }


def _loaded(kind: str, files: dict[str, list[str]]) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    try:
        return dict(datasets.load_dataset(kind, data_files=files))
    except Exception as error:  # its errors have no base of their own
        reason = str(error.__cause__ or error) or "there are none"
        raise ConfigurationError(f"the texts can't be read as {kind}: {reason}") from error


def _problem(cells: Any, name: str) -> str | None:
    """What a training can't learn from in a column of Arrow's, which TRL would not say."""
    import pyarrow as pa
    import pyarrow.compute

    kind = cells.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    fields = {field.name for field in kind.value_type} if lists and pa.types.is_struct(kind.value_type) else set()
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not {"role", "content"} <= fields and (name == "messages" or not texts):
        return f"{name} must have {'' if name == 'messages' else 'texts or '}messages with role and content"
    if cells.null_count or (lists and pyarrow.compute.min(pyarrow.compute.list_value_length(cells)).as_py() == 0):
        return f"{name} is empty in some rows: leave them out"
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        return f"{name} has text that is not UTF-8"
    return None


def _columns(uri: str, there: list[str], objective: str) -> tuple[str, ...]:
    for columns in FORMATS[objective]:
        if set(columns) <= set(there):
            return columns
    shapes = ", or ".join(" and ".join(columns) for columns in FORMATS[objective])
    raise ConfigurationError(
        f"MODELOPS_DATA_URI {uri!r} has the columns {', '.join(there)}; {objective} needs {shapes}"
    )
