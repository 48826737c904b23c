"""The architecture, read from the imports: arrows between folders go down only, and there is no cycle anywhere."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS = ("", "components", "model", "ci", "policies")
LIBRARY = [
    {"airflow"},
    {"registry", "data"},
    {"serving", "training", "monitoring", "image"},
    {"kubernetes"},
    {"core"},
]
RUNTIME = [{"serving", "data", "language_models"}, {"registry", "training"}, {"artifacts"}, {"contract"}]
LEFT_OUT = {"tests", "docs", "examples", "build", "assets"}


def modules() -> dict[str, Path]:
    """Every module of the repository's own code, by the name under which it is imported."""
    found: dict[str, Path] = {}
    for file in sorted(REPOSITORY.rglob("*.py")):
        path = file.relative_to(REPOSITORY)
        if LEFT_OUT & set(path.parts) or any(part.startswith(".") for part in path.parts):
            continue
        for root in ROOTS:
            if path.is_relative_to(root or "."):
                parts = path.relative_to(root or ".").with_suffix("").parts
                found.setdefault(".".join(parts[:-1] if parts[-1] == "__init__" else parts), file)
    return found


MODULES = modules()


def statements(body: list[ast.stmt], *, inside: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements, those of type checking included, and with `inside` those in functions too."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers"):
                inner = [each for each in getattr(node, field, []) if isinstance(each, ast.stmt | ast.ExceptHandler)]
                yield from statements(inner, inside=inside)  # type: ignore[arg-type]


def imports(name: str, *, inside: bool) -> set[str]:
    """Modules of this repository that a module imports."""
    file = MODULES[name]
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in statements(ast.parse(file.read_bytes()).body, inside=inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = ".".join([*package[: len(package) - node.level + 1], *(node.module or "").split(".")]).strip(".")
        base = base if node.level else node.module or ""
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            found.add(inner if inner in MODULES else base)
    return (found & MODULES.keys()) - {name}


def cycles(arrows: Mapping[str, set[str]]) -> list[str]:
    """Modules that can reach themselves."""
    reached = {name: set(targets) for name, targets in arrows.items()}
    for middle in reached:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    return sorted(name for name, targets in reached.items() if name in targets)


def layer_of(name: str, package: str, layers: list[set[str]]) -> int | None:
    parts = name.split(".")
    if parts[0] != package or len(parts) < 2:
        return None
    return next((index for index, folders in enumerate(layers) if parts[1] in folders), None)


def test_there_is_no_import_cycle() -> None:
    assert cycles({name: imports(name, inside=False) for name in MODULES}) == []


def test_a_cycle_would_be_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


@pytest.mark.parametrize(("package", "layers"), [("modelops", LIBRARY), ("modelops_runtime", RUNTIME)])
def test_imports_go_down_only(package: str, layers: list[set[str]]) -> None:
    upward = []
    for name in MODULES:
        here = layer_of(name, package, layers)
        for target in imports(name, inside=True) if here is not None else ():
            there = layer_of(target, package, layers)
            if there is None or there > here or target.split(".")[1] == name.split(".")[1]:
                continue
            upward.append(f"{name} imports {target}")
    assert upward == []


@pytest.mark.parametrize(("package", "layers"), [("modelops", LIBRARY), ("modelops_runtime", RUNTIME)])
def test_every_folder_has_its_layer(package: str, layers: list[set[str]]) -> None:
    folders = {
        name.split(".")[1]
        for name, file in MODULES.items()
        if name.startswith(f"{package}.") and (name.count(".") > 1 or file.name == "__init__.py")
    }
    assert folders == set().union(*layers)


def test_the_runtime_knows_neither_the_sample_nor_the_library() -> None:
    foreign = {"sample", "modelops", "devkit", "stacks"}
    wrong = {
        name: sorted(targets)
        for name in MODULES
        if name.startswith("modelops_runtime")
        and (targets := {each for each in imports(name, inside=True) if each.split(".")[0] in foreign})
    }
    assert wrong == {}


def test_neither_cluster_tests_nor_what_all_tests_share_import_unit_tests() -> None:
    """What unit and cluster tests both need has a module of its own directly below `tests/`."""
    tests = REPOSITORY / "tests"
    wrong = [
        f"{file.relative_to(REPOSITORY)}:{node.lineno}"
        for file in [*tests.glob("*.py"), *(tests / "cluster").rglob("*.py")]
        for node in statements(ast.parse(file.read_bytes()).body, inside=True)
        if "tests.unit" in ast.unparse(node)
    ]
    assert wrong == []
