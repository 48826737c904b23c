"""What `import modelops` costs a program beside `import pulumi_kubernetes`, in processor seconds.

python -m bench.imports [--rounds 20]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from bench.serve import by_round

RESULTS = Path(__file__).parent / "results" / "imports.json"
ALONE = "import pulumi, pulumi_kubernetes"
WITH = f"{ALONE}, modelops"


def seconds(program: str, cache: str) -> float:
    """Processor seconds of a program in a process of its own, with compiled modules in the cache."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = f"import time; start = time.process_time(); {program}; print(time.process_time() - start)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        seconds(WITH, cache)  # compiles
        pairs = [(seconds(WITH, cache), seconds(ALONE, cache)) for _ in range(rounds)]
    ours, alone = (list(side) for side in zip(*pairs, strict=True))
    print(f"{by_round(ours, alone)} times the import of pulumi and pulumi_kubernetes, {rounds} rounds")
    machine = {"python": platform.python_version()}
    machine |= {name: version(name) for name in ("pulumi", "pulumi-kubernetes")}
    RESULTS.write_text(json.dumps({"machine": machine, "ours": ours, "alone": alone}, indent=2) + "\n")


if __name__ == "__main__":
    main()
