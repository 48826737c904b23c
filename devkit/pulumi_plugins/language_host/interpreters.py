"""Which Python runs a program: its project's virtual environment, an active one, or the host's own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PLUGIN_ENVIRONMENT = "venv"
"""Where a plugin's dependencies go when its project names no `virtualenv`."""


def environment_dir(root: Path, options: Mapping[str, object], *, is_plugin: bool = False) -> Path | None:
    """The virtual environment that the project's `virtualenv` option names (relative to `root`), present or not.

    A plugin without the option has `venv` in its own folder; a program without it has none.
    """
    named = str(options.get("virtualenv") or "")
    if not named:
        return root / PLUGIN_ENVIRONMENT if is_plugin else None
    return root / named


def environment_python(environment: Path) -> Path | None:
    """The interpreter of a virtual environment, or None when there is none there."""
    for candidate in (environment / "bin" / "python", environment / "bin" / "python3"):
        if candidate.exists():
            return candidate
    return None


def choose_python(root: Path, options: Mapping[str, object], *, is_plugin: bool = False) -> Path:
    """The interpreter for the project in `root`.

    Order: the environment its `virtualenv` option names, when it exists; the command in PULUMI_PYTHON_CMD; an active
    virtual environment (VIRTUAL_ENV); else the interpreter of the host itself, which is known to have the SDK.
    """
    environment = environment_dir(root, options, is_plugin=is_plugin)
    if environment is not None and (found := environment_python(environment)) is not None:
        return found
    if command := os.environ.get("PULUMI_PYTHON_CMD"):
        return Path(command)
    active = os.environ.get("VIRTUAL_ENV")
    if active and (found := environment_python(Path(active))) is not None:
        return found
    return Path(sys.executable)


def activated(environ: Mapping[str, str], python: Path) -> dict[str, str]:
    """`environ` as a shell with the environment of `python` activated would have it."""
    result = dict(environ)
    result.pop("PYTHONHOME", None)
    home = python.parent.parent
    if (home / "pyvenv.cfg").exists():
        result["VIRTUAL_ENV"] = str(home)
        result["PATH"] = f"{python.parent}{os.pathsep}{environ.get('PATH', '')}"
    return result
