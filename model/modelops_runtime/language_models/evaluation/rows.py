"""The evaluation set: prompts, and what their answers are judged by."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modelops_runtime.artifacts import prepared
from modelops_runtime.artifacts.store import is_store
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.copies import copied
from modelops_runtime.language_models.evaluation.parameters import Evaluation
from modelops_runtime.language_models.finetune.data import HELD_OUT

Prompt = str | list[dict[str, Any]]
"""A text to continue, or messages to answer."""
SPLIT = "test"
MOST_PROBLEMS = 10


@dataclass(frozen=True)
class Row:
    """A prompt, and what its answer is judged by."""

    id: str
    """The row's own, or of its prompt: the same in each evaluation."""
    prompt: Prompt
    references: tuple[str, ...] = ()
    """Answers that are right."""
    schema: Any = None
    """JSON Schema of the answer."""
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


def read(uri: str, evaluation: Evaluation, wait_seconds: float, *, given: bool = True) -> list[Row]:
    """The rows. Where the set was not `given`, but is the data of a training: its test split's, or none where they have
    no prompts.

    Raises ConfigurationError with every row that can't be used, ContractError where the set can't be reached.
    """
    path = local(uri, wait_seconds)
    contents = [content for file in _files(uri, path) for content in _contents(file)]
    if not given:
        contents = contents[::HELD_OUT] if path.is_file() else contents
        if contents and isinstance(contents[0], dict) and not {"messages", "prompt"} & contents[0].keys():
            return []
    contents = contents[: evaluation.limit]
    rows, problems = [], []
    seen: Counter[str] = Counter()
    for number, content in enumerate(contents):
        try:
            row = _row(content, evaluation)
        except (ValueError, TypeError, KeyError) as error:
            problems.append(f"evaluation set {uri}, row {number}: {error}")
            continue
        seen[row.id] += 1
        again = f"-{seen[row.id]}" if seen[row.id] > 1 else ""
        rows.append(Row(row.id + again, row.prompt, row.references, row.schema, row.required, row.forbidden))
    if problems:
        raise ConfigurationError(*problems[:MOST_PROBLEMS])
    if not rows:
        raise ConfigurationError(f"evaluation set {uri} has no rows")
    return rows


def version(rows: Sequence[Row]) -> str:
    """The same for the same rows."""
    return hashlib.sha256(json.dumps([asdict(row) for row in rows], sort_keys=True).encode()).hexdigest()[:12]


def local(uri: str, wait_seconds: float, *, texts: bool = True) -> Path:
    """A file or folder on this machine; one in an object store is copied, of a version of `texts` what is of it."""
    if is_store(uri):
        return copied(uri, wait_seconds, texts=texts)
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme not in ("", "file") or not path.exists():
        raise ConfigurationError(f"{uri} is not there: it must be a path or an address in an object store")
    return path


def _files(uri: str, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = prepared.rows_of(path, SPLIT)
    if not found:
        raise ConfigurationError(f"evaluation set {uri} has no {SPLIT}/*.parquet: it is no version of texts")
    return found


def _contents(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as they are: Arrow's reader of JSON would fill a row's schema with what other rows' schemas have."""
    if path.suffix == ".jsonl":
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ConfigurationError(f"{path.name}, line {number + 1} is not JSON: {error}") from None
        return
    if path.suffix != ".parquet":
        raise ConfigurationError(f"evaluation set {path.name} must end in .jsonl or .parquet")
    import pyarrow.parquet

    yield from pyarrow.parquet.read_table(path).to_pylist()


def _row(content: Any, evaluation: Evaluation) -> Row:
    """Raises ValueError, TypeError or KeyError, which say what is wrong."""
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    given = {name: value for name, value in content.items() if value is not None}
    prompt, references = _prompt(given)
    if "reference" in given:
        named = given["reference"]
        references = tuple(named) if isinstance(named, list) else (named,)
    if not all(isinstance(reference, str) for reference in references):
        raise ValueError("the reference must be text, or a list of texts")
    text = json.dumps(prompt, sort_keys=True, ensure_ascii=False)
    return Row(
        id=str(given.get("id", hashlib.sha256(text.encode()).hexdigest()[:12])),
        prompt=prompt,
        references=references,
        schema=_schema(given.get("schema", evaluation.json_schema)),
        required=_patterns(given, "required", evaluation.required),
        forbidden=_patterns(given, "forbidden", evaluation.forbidden),
    )


def _prompt(given: dict[str, Any]) -> tuple[Prompt, tuple[Any, ...]]:
    """The prompt and the answer, of TRL's formats."""
    answer: tuple[Any, ...] = ()
    if "messages" in given:
        messages = _messages(given["messages"])
        if messages and messages[-1]["role"] == "assistant":
            messages, answer = messages[:-1], (messages[-1]["content"],)
        if not messages:
            raise ValueError("messages has nothing to answer")
        return messages, answer
    if "prompt" not in given:
        raise ValueError("it has neither messages nor prompt")
    prompt = given["prompt"]
    if "completion" in given:
        completion = given["completion"]
        answer = (completion if isinstance(completion, str) else _messages(completion)[-1]["content"],)
    return prompt if isinstance(prompt, str) else _messages(prompt), answer


def _messages(value: Any) -> list[dict[str, Any]]:
    """Messages without the fields that are empty, which Parquet gives to all of them."""
    shaped = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    if not shaped or not all(isinstance(each.get("role"), str) for each in value):
        raise ValueError("messages must be a list of objects with role and content")
    return [{name: field for name, field in each.items() if field is not None} for each in value]


def _schema(value: Any) -> Any:
    import jsonschema

    if value is None:
        return None
    schema = json.loads(value) if isinstance(value, str) else value
    if outside := re.search(r'"\$ref": "([^#"][^"]*)"', json.dumps(schema)):
        raise ValueError(f"schema refers to {outside[1]}, and nothing is fetched for it")
    try:
        jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"schema is no JSON Schema: {error.message}") from None
    return schema


def _patterns(given: dict[str, Any], name: str, for_all: list[str]) -> tuple[str, ...]:
    own = given.get(name, [])
    patterns = (*for_all, *([own] if isinstance(own, str) else own))
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"{name} has {pattern!r}, which is no regular expression: {error}") from None
    return patterns
