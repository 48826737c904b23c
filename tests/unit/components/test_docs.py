"""The pages of the components say what the library says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs" / "components"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PAGES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()


@pytest.mark.parametrize("name", sorted(GENERATE.PAGES))
def test_tables_are_current(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    assert GENERATE.render(page, GENERATE.PAGES[name]) == page, "run python docs/components/generate.py"


@pytest.mark.parametrize("name", sorted(GENERATE.PAGES))
def test_every_field_is_described(name: str) -> None:
    assert "| None |" not in GENERATE.tables(GENERATE.PAGES[name])
