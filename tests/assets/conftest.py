"""promtool for the tests that need it, and for no others."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devkit.promtool import find

Promtool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Promtool:
    """Runs promtool: an installed one, else the devkit's. Its first build takes minutes and says so."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        program = find()

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run
