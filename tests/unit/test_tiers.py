"""Which code the tests run, which of them are slow, and what the Makefile's targets run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SLOW_FILES


def dry_run(*arguments: str) -> str:
    command = ["make", "--no-print-directory", "--dry-run", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("package", ["modelops", "modelops_runtime", "sample"])
def test_a_process_that_a_test_starts_has_the_checkouts_own_code(package: str, tmp_path: Path) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({package!r}).submodule_search_locations[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(REPOSITORY)


def test_every_file_in_the_table_of_slow_tests_exists() -> None:
    assert [name for name in sorted(SLOW_FILES) if not (REPOSITORY / name).is_file()] == []


def test_a_run_of_chosen_files_builds_no_toolchain_and_leaves_no_test_out() -> None:
    chosen = dry_run("test", "TESTS=tests/unit/test_tiers.py")
    assert "pytest tests/unit/test_tiers.py" in chosen
    assert "-m integration" not in chosen and "tests/cluster" not in chosen and "promtool" not in chosen


def test_all_tests_are_those_of_the_tiers() -> None:
    everything = dry_run("test")
    tiers = re.findall(r'pytest .*-m "?((?:not )?\w+)', everything)
    assert tiers == ["not integration", "integration", "not long", "lifecycle"]


def test_every_generator_of_the_docs_is_run_by_make_generate() -> None:
    recipe = dry_run("generate")
    generators = [path for path in (REPOSITORY / "docs").rglob("*.py") if '__name__ == "__main__"' in path.read_text()]
    names = [path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".") for path in generators]
    assert len(names) == 5 and all(f"-m {name}" in recipe for name in names)


def test_what_a_folder_of_cluster_tests_shares_ends_with_the_folder() -> None:
    """A fixture of a package lives to the end of the session if its folder is none, or a module imports it alone: then
    it ends after the tests that take the platform down."""
    tests = REPOSITORY / "tests" / "cluster"
    for shared in tests.glob("*/conftest.py"):
        assert (shared.parent / "__init__.py").exists(), shared.parent
    for module in tests.glob("*/test_*.py"):
        assert not re.search(r"^from tests\.cluster\.\w+\.conftest import", module.read_text(), re.MULTILINE), module
