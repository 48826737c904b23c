"""Reports, as JSON on stdout, what is installed in the Python that runs this file. Standard library only.

It runs under the program's interpreter, which need not be the host's.
"""

import json
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

# Parts of the SDK: they are Pulumi packages without a plugin of their own.
_NO_PLUGIN = {"pulumi", "pulumi-policy", "pulumi-esc-sdk"}


def _plugin_file(distribution: metadata.Distribution) -> dict[str, Any] | None:
    """The `pulumi-plugin.json` that a Pulumi package carries in its module's folder."""
    module = distribution.metadata["Name"].replace("-", "_")
    try:
        file = str(distribution.locate_file(f"{module}/pulumi-plugin.json"))
        text = Path(file).read_text(encoding="utf-8")
    except OSError:
        return None
    loaded = json.loads(text)
    return loaded if isinstance(loaded, dict) else None


def required_plugins() -> list[dict[str, Any]]:
    """The resource plugins that the installed Pulumi packages ask for: name, version, server, parameterization."""
    plugins = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not name or name in _NO_PLUGIN:
            continue
        plugin = _plugin_file(distribution)
        if plugin is None and not name.startswith("pulumi-"):
            continue
        plugin = plugin or {"resource": True}
        if not plugin.get("resource"):
            continue
        version = str(plugin.get("version") or distribution.version)
        plugins[name] = {
            "name": plugin.get("name") or name.removeprefix("pulumi-"),
            "version": version if version.startswith("v") else f"v{version}",
            "server": plugin.get("server") or "",
            "parameterization": plugin.get("parameterization"),
        }
    return [plugins[name] for name in sorted(plugins)]


def dependencies() -> list[dict[str, str]]:
    """Every installed distribution with its version."""
    versions = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return [{"name": name, "version": versions[name]} for name in sorted(versions)]


def main(what: str) -> None:
    """Print the answer to `what`: `plugins`, `dependencies` or `about`."""
    answers: dict[str, Callable[[], Any]] = {
        "plugins": required_plugins,
        "dependencies": dependencies,
        "about": lambda: {"executable": sys.executable, "version": platform.python_version()},
    }
    json.dump(answers[what](), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
