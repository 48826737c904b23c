"""Reports, as JSON on stdout, what the Python that runs this file has installed. Standard library only.

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
        place = str(distribution.locate_file(f"{module}/pulumi-plugin.json"))
        text = Path(place).read_text(encoding="utf-8")
    except OSError:
        return None
    loaded = json.loads(text)
    return loaded if isinstance(loaded, dict) else None


def required_plugins() -> list[dict[str, Any]]:
    """The resource plugins that the installed Pulumi packages ask for: name, version, server, parameterization."""
    found = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not name or name in _NO_PLUGIN:
            continue
        described = _plugin_file(distribution)
        if described is None and not name.startswith("pulumi-"):
            continue
        described = described or {"resource": True}
        if not described.get("resource"):
            continue
        version = str(described.get("version") or distribution.version)
        found[name] = {
            "name": described.get("name") or name.removeprefix("pulumi-"),
            "version": version if version.startswith("v") else f"v{version}",
            "server": described.get("server") or "",
            "parameterization": described.get("parameterization"),
        }
    return [found[name] for name in sorted(found)]


def dependencies() -> list[dict[str, str]]:
    """Every installed distribution with its version."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return [{"name": name, "version": found[name]} for name in sorted(found)]


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
