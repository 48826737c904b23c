"""A layout in a temporary folder, with the certificates that rendering needs."""

from pathlib import Path

import pytest

from devkit.embedded import pki
from devkit.embedded.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """State and cache below the test's own folder; nothing is made in it."""
    return Layout(tmp_path / "state", tmp_path / "cache")


@pytest.fixture(scope="session")
def layout_with_keys(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The same with all keys and certificates, made once."""
    folder = tmp_path_factory.mktemp("keys")
    made = Layout(folder / "state", folder / "cache")
    pki.ensure_pki(made)
    return made
