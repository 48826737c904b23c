"""Stand-ins for Airflow, which is not installed here: enough to import the DAG and its versions as Airflow does."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest


class Dag:
    """Keeps the fields of the DAG that was made last."""

    latest: ClassVar["Dag"]

    def __init__(self, *_: Any, **fields: Any) -> None:
        self.fields = fields

    def __enter__(self) -> "Dag":
        Dag.latest = self
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class Task:
    """A decorated function, called and chained."""

    def __call__(self, *_: Any, **__: Any) -> "Task":
        return self

    def __rshift__(self, other: "Task") -> "Task":
        return other


def stand_ins(monkeypatch: pytest.MonkeyPatch, modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Modules with these fields, for the test's duration."""
    for name, fields in modules.items():
        module = ModuleType(name)
        vars(module).update(fields)
        monkeypatch.setitem(sys.modules, name, module)


def loaded(path: Path) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dag_module(folder: Path, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG's module, from its files written to the folder."""
    for name, text in files.items():
        (folder / name).write_text(text)
    sdk = {"DAG": Dag, "task": lambda *_, **__: Task(), "get_current_context": dict}
    exceptions = {"AirflowFailException": RuntimeError}
    stand_ins(monkeypatch, {"airflow": {}, "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions})
    [json_file] = [name for name in files if name.endswith(".json")]
    return loaded((folder / json_file).with_suffix(".py"))
