"""`docs/decisions.md` says why each dependency is there."""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = (REPOSITORY / "docs" / "decisions.md").read_text().partition("## Dependencies")[2]
EXPLAINED = {
    name.lower() for row in re.findall(r"^\| (`[^|]+)\|", TABLE, re.MULTILINE) for name in re.findall("`(.+?)`", row)
}
LISTS = [
    path
    for pattern in ("requirements*", "*/requirements*", "bench/references/requirements*")
    for path in REPOSITORY.glob(pattern)
    # A list that is locked from a `.in` file has what that file's packages need, too.
    if not path.with_suffix(".in").is_file() or path.suffix == ".in"
]
PROJECTS = [REPOSITORY / folder / "pyproject.toml" for folder in ("components", "model", "policies", "ci")]


def declared(path: Path) -> Iterator[str]:
    if path.suffix == ".toml":
        settings = tomllib.loads(path.read_text())
        optional = settings["project"].get("optional-dependencies", {})
        lines = [
            *settings["build-system"]["requires"],
            *settings["project"]["dependencies"],
            *chain.from_iterable(optional.values()),
        ]
    else:
        lines = path.read_text().splitlines()
    for line in lines:
        if name := re.match(r"[A-Za-z][\w.-]*", line):
            yield name.group().lower()


def test_the_lists_are_found() -> None:
    assert len(LISTS) >= 12 and sum(len(list(declared(path))) for path in LISTS) > 60


@pytest.mark.parametrize("path", [*LISTS, *PROJECTS], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_each_declared_dependency_has_its_reason(path: Path) -> None:
    assert set(declared(path)) - EXPLAINED == set()
