"""Installs the plugins where Pulumi finds them.

The installed copies don't depend on this checkout: a running engine keeps the code it started with.
"""

import compileall
import hashlib
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

KUBERNETES_PLUGIN_VERSION = "4.34.2"
"""The version of the official plugin that the stand-in replaces."""

_HERE = Path(__file__).resolve().parent
_LANGUAGE_HOST = "pulumi-language-python"
_KUBERNETES = "pulumi-resource-kubernetes"


def install_language_host(bin_dir: Path, python: Path) -> Path:
    """Write the executable `pulumi-language-python` into `bin_dir` and return its path.

    `bin_dir` is the folder of the `pulumi` binary: the engine treats a language host beside it as bundled.
    `python` runs the host, and programs whose project names no environment; it needs `pulumi`.
    """
    return _write(bin_dir, _LANGUAGE_HOST, "language_host", python)


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
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{executable}.d"
    shutil.rmtree(library, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_HERE / package, library / package, ignore=ignore)
    (library / "__main__.py").write_text(
        f"import sys\n\nfrom {package}.serve import main\n\nsys.exit(main(sys.argv[1:]))\n"
    )
    # Compiled now: the folder may not be writable when the engine starts the plugin.
    compileall.compile_dir(str(library), quiet=2)
    start = folder / executable
    start.write_text(f'#!/bin/sh\nself=$(readlink -f -- "$0")\nexec {shlex.quote(str(python))} -u "$self.d" "$@"\n')
    start.chmod(0o755)
    return start
