"""Whether rendering the dev stack again and again in one process stays as fast, and keeps its memory.

    python -m bench.rendering [--times 1000]

The whole program of the stack runs against Pulumi's mocks. A tenth of the times is the beginning, a tenth the end:
processor seconds of one rendering are compared, and the process's memory after each of the two.
"""

import argparse
import gc
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.services import machine
from tests.unit.stacks.rendered import resources

RESULTS = Path(__file__).parent / "results" / "rendering.json"
MEGABYTE = 1e6


def memory() -> float:
    """What the process has in memory now, in megabytes, after what nobody refers to is gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def measured(times: int) -> dict[str, Any]:
    """Processor seconds of each rendering, and megabytes after each tenth of them."""
    seconds, megabytes, objects = [], [], set()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, times + 1):
            started = time.process_time()
            objects.add(len(resources("dev", Path(folder))))
            seconds.append(round(time.process_time() - started, 4))
            if number % (times // 10) == 0:
                megabytes.append(round(memory(), 1))
                print(f"{number}: {seconds[-1]:.2f} s, {megabytes[-1]:.0f} MB", flush=True)
    [count] = objects
    return {"resources": count, "seconds": seconds, "megabytes": megabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=1000, help="a multiple of ten")
    times = parser.parse_args().times
    if times < 10 or times % 10:
        parser.error("--times must be a multiple of ten")
    RESULTS.write_text(json.dumps({"machine": machine(), **measured(times)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
