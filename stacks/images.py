"""`python -m stacks.images STACK`: the upstream images that a stack would run, as a JSON list."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from stacks.platform import required_images

_FOLDER = Path(__file__).resolve().parent


def images_of(stack: str) -> list[str]:
    """Reads only the stack's file: no engine, no passphrase. Raises FileNotFoundError if there is no such stack."""
    document: dict[str, Any] = yaml.safe_load((_FOLDER / f"Pulumi.{stack}.yaml").read_text()) or {}
    prefix = "modelops:"
    config = document.get("config") or {}
    raw = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    return sorted(set(required_images(raw).values()))


def main() -> None:
    """Prints the list, or one line on stderr if there is no such stack."""
    stack = sys.argv[1] if len(sys.argv) == 2 else "dev"
    try:
        print(json.dumps(images_of(stack)))
    except FileNotFoundError:
        stacks = sorted(path.name.split(".")[1] for path in _FOLDER.glob("Pulumi.*.yaml"))
        sys.exit(f"stack is {stack!r}, must be one of {', '.join(stacks)}")


if __name__ == "__main__":
    main()
