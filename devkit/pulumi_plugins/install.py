"""Installs the plugins where Pulumi finds them.

The installed copies don't depend on this checkout: a running engine keeps the code it started with.
"""

import compileall
import hashlib
import shlex
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from devkit.files import replace_text

KUBERNETES_PLUGIN_VERSION = "4.34.2"
"""The version of the official plugin that the stand-in replaces."""

_HERE = Path(__file__).resolve().parent
LANGUAGE_HOST = "pulumi-language-python"
_KUBERNETES = "pulumi-resource-kubernetes"


def install_language_host(bin_dir: Path, python: Path) -> Path:
    """Write the executable `pulumi-language-python` into `bin_dir` and return its path.

    `bin_dir` is the folder of the `pulumi` binary: the engine treats a language host beside it as bundled.
    `python` runs the host, and programs whose project names no environment; it needs `pulumi`.
    """
    return _write(bin_dir, LANGUAGE_HOST, "language_host", python)


def write_kubernetes_plugin(plugin_dir: Path, python: Path) -> Path:
    """Write the stand-in Kubernetes plugin into `plugin_dir` and return its executable.

    The folder is for `pulumi plugin install resource kubernetes 4.34.2 --file DIR`. `python` runs the plugin; it needs
    `pulumi` and `kubernetes`.
    """
    return _write(plugin_dir, _KUBERNETES, "kubernetes_provider", python)


def fingerprint() -> str:
    """A hash of the plugins' source: a changed value means that installed copies are outdated."""
    digest = hashlib.sha256()
    for path in _sources(_HERE):
        digest.update(str(path.relative_to(_HERE)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def _write(folder: Path, executable: str, package: str, python: Path) -> Path:
    """The code is in a folder named by its hash, so that writing it again disturbs nobody who runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{executable}-{fingerprint()}"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            made = Path(unfinished, library.name)
            _write_library(made, package)
            try:
                made.rename(library)
            except OSError:
                if not library.exists():  # else another `up` was faster
                    raise
    start = folder / executable
    here = '$(dirname -- "$(readlink -f -- "$0")")'
    replace_text(start, f'#!/bin/sh\nexec {shlex.quote(str(python))} -u "{here}/{library.name}" "$@"\n', mode=0o755)
    for old in folder.glob(f"{executable}-*"):
        if old != library:
            shutil.rmtree(old)
    return start


def _write_library(library: Path, package: str) -> None:
    shutil.copytree(_HERE / package, library / package, ignore=shutil.ignore_patterns("__pycache__"))
    (library / "__main__.py").write_text(
        f"import sys\n\nfrom {package}.serve import main\n\nsys.exit(main(sys.argv[1:]))\n"
    )
    # Compiled now: the folder may not be writable when the engine starts the plugin.
    compileall.compile_dir(str(library), quiet=2)
