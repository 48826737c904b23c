"""promtool for the tests that need it, and for no others."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import toolchain

Promtool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Promtool:
    """Runs promtool: PROMTOOL, an installed one, or the platform's, whose first build takes minutes and says so."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        named = os.environ.get("PROMTOOL") or shutil.which("promtool")
        program = Path(named) if named else toolchain.build("prometheus") / "promtool"

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def prometheus(promtool: Promtool) -> Path:
    """Prometheus itself, an installed one or the platform's."""
    named = shutil.which("prometheus")
    return Path(named) if named else toolchain.build("prometheus") / "prometheus"
