"""`python3 -m devkit.promtool` prints the path of a promtool: an installed one, else one built into the cache."""

import os
import shutil
import sys
from pathlib import Path

from devkit import toolchain
from devkit.errors import DevkitError


def find() -> Path:
    """PROMTOOL, else what is on the PATH, else the pinned one. Raises DevkitError when none can be had."""
    if named := os.environ.get("PROMTOOL") or shutil.which("promtool"):
        return Path(named)
    return toolchain.build(toolchain.groups()["prometheus"], _say) / "promtool"


def _say(text: str) -> None:
    if text != "cached":
        print(text, file=sys.stderr)


def main() -> int:
    """Prints the path, or why there is none."""
    try:
        print(find())
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
