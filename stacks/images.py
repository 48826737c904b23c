"""`python -m stacks.images STACK`: the upstream images that a stack's parts would run, as a JSON list."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from stacks.platform import wanted_images

_FOLDER = Path(__file__).resolve().parent


def images_of(stack: str) -> list[str]:
    """Reads the stack's file alone: no engine, no passphrase. Raises FileNotFoundError when there is no such stack."""
    document: dict[str, Any] = yaml.safe_load((_FOLDER / f"Pulumi.{stack}.yaml").read_text()) or {}
    prefix = "modelops:"
    config = document.get("config") or {}
    raw = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    return sorted(set(wanted_images(raw).values()))


def main() -> None:
    """Prints the list, or one line on stderr when the stack isn't known."""
    stack = sys.argv[1] if len(sys.argv) == 2 else "dev"
    try:
        print(json.dumps(images_of(stack)))
    except FileNotFoundError:
        known = sorted(path.name.split(".")[1] for path in _FOLDER.glob("Pulumi.*.yaml"))
        sys.exit(f"there is no stack {stack!r} in stacks/; known are {', '.join(known)}")


if __name__ == "__main__":
    main()
