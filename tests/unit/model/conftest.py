"""Servers that several tests share. Each is a real process that is asked over real HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.model.support import RunningServer, start_server, write_model


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = 2x + 1."""
    directory = tmp_path_factory.mktemp("line")
    write_model(directory)
    return directory


@pytest.fixture(scope="session")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of y = 2x + 1 for tests that leave it as it was."""
    with start_server(model_dir, tmp_path_factory.mktemp("server") / "log") as running:
        yield running
