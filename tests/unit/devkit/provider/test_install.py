"""The plugins as they are installed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devkit.pulumi_plugins.install import fingerprint, install_language_host, write_kubernetes_plugin


@pytest.mark.parametrize("install", [install_language_host, write_kubernetes_plugin])
def test_an_installed_plugin_serves_soon_and_ends_quietly(install, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plugin = install(tmp_path / "bin", Path(sys.executable))
    # It needs nothing of this checkout.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    began = time.monotonic()
    process = subprocess.Popen(
        [plugin, "--logtostderr", "127.0.0.1:1"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    port = process.stdout.readline()
    took = time.monotonic() - began
    process.terminate()
    assert process.wait(20) == 0 and not process.stderr.read()
    assert int(port) > 0 and took < 15


def test_a_plugin_ends_when_the_engine_that_started_it_was_killed(tmp_path: Path) -> None:
    """`kill -9` of an engine leaves it no time to tell its plugins, which are in process groups of their own."""
    plugin = write_kubernetes_plugin(tmp_path / "bin", Path(sys.executable))
    start = (
        "import subprocess, sys\n"
        f"plugin = subprocess.Popen([{str(plugin)!r}, '127.0.0.1:1'], stdout=subprocess.PIPE, process_group=0)\n"
        "plugin.stdout.readline()\n"
        "print(plugin.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert engine.stdout is not None
    process = int(engine.stdout.readline())
    os.kill(process, 0)
    engine.kill()
    engine.wait()
    deadline = time.monotonic() + 10
    while _alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(process)


def _alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_installing_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    old = tmp_path / "pulumi-resource-kubernetes-0123" / "kubernetes_provider" / "gone.py"
    old.parent.mkdir(parents=True)
    old.touch()
    write_kubernetes_plugin(tmp_path, Path(sys.executable))
    assert not old.exists()


def test_installing_again_leaves_alone_what_runs(tmp_path: Path) -> None:
    start = install_language_host(tmp_path, Path(sys.executable))
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path != start}
    install_language_host(tmp_path, Path(sys.executable))
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*") if path != start} == before


def test_the_fingerprint_is_of_the_source() -> None:
    assert fingerprint() == fingerprint() and len(fingerprint()) == 16
