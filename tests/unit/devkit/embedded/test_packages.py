"""Debian packages: only what is missing is fetched, apt's reason reaches the user."""

import shutil
import subprocess
from pathlib import Path

import pytest

from devkit.embedded import packages
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError


def _mark(layout: Layout, *names: str) -> None:
    layout.packages.mkdir(parents=True)
    for name in names:
        (layout.packages / f"{name}.extracted").touch()


def test_every_extracted_package_has_a_program_that_proves_it(layout: Layout) -> None:
    for name in packages.EXTRACTED_PACKAGES:
        assert packages.tool(layout, name).is_relative_to(layout.packages)


def test_extracted_packages_are_not_fetched_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    _mark(layout, *packages.EXTRACTED_PACKAGES)
    monkeypatch.setattr(packages, "missing_system_packages", list)
    monkeypatch.setattr(packages, "_apt", lambda *arguments, **options: pytest.fail("apt was called"))
    reports: list[str] = []
    packages.install_packages(layout, reports.append)
    packages.extract_packages(layout, ["runc"], reports.append)
    assert reports == ["cached", "cached"]


def test_only_missing_packages_are_named(layout: Layout) -> None:
    _mark(layout, "runc")
    assert "runc" not in packages.missing_extracted_packages(layout)
    assert "debootstrap" in packages.missing_extracted_packages(layout)


def test_unknown_package_is_a_mistake(layout: Layout) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        packages.extract_packages(layout, ["nonsense"], print)


def test_reason_of_apt_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 100, "", "N: note\nE: Unable to locate package nonsense\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: answer)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(DevkitError, match="E: Unable to locate package nonsense"):
        packages._apt(["apt-get", "download", "nonsense"])


def test_machine_without_apt_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DevkitError, match="Debian"):
        packages._apt(["apt-get", "update"])


def test_extracted_programs_come_first_on_the_path(layout: Layout) -> None:
    first = packages.search_path(layout).split(":")[0]
    assert Path(first) == packages.root(layout) / "usr/sbin"
