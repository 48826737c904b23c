"""Files that are written while others read or run them."""

import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from devkit.files import replace_copy, replace_link, replace_text


def test_a_written_file_is_its_owners_alone_whatever_its_mode_was(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    replace_text(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def _script(folder: Path) -> Path:
    script = folder / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    "write",
    [
        lambda path, script: replace_text(path, script.read_text(), mode=0o755),
        replace_link,
        replace_copy,
    ],
    ids=["text", "link", "copy"],
)
def test_a_program_can_be_started_at_any_moment_while_it_is_replaced(
    write: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    script = _script(tmp_path / "source")
    path = tmp_path / "program"
    write(path, script)
    done = threading.Event()

    def again() -> None:
        while not done.is_set():
            write(path, script)

    writer = threading.Thread(target=again)
    writer.start()
    try:
        for _ in range(100):
            subprocess.run([path], check=True)
    finally:
        done.set()
        writer.join()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["program", "source"]
