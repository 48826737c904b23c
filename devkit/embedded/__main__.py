"""``python3 -m devkit.embedded start|stop|status``: only the embedded cluster, for developing it."""

import argparse
import sys
import time
from pathlib import Path

from devkit import embedded
from devkit.embedded import lifecycle
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from devkit.paths import cache_root


def main() -> int:
    """Returns the exit code: 0 done, 1 failed or (status) not all running."""
    parser = argparse.ArgumentParser(prog="python3 -m devkit.embedded", description=__doc__)
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--binaries", type=Path, default=cache_root() / "bin", help="folder of the built programs")
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    try:
        if arguments.action == "status":
            return 0 if lifecycle.print_status(Layout()) else 1
        if arguments.action == "start":
            embedded.install_packages(say)
            embedded.start(arguments.binaries, say)
        else:
            embedded.stop(say)
    except DevkitError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
