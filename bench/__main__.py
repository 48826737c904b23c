"""Every figure of the library beside named references, with its goal: `make bench`.

    python -m bench [--only server,larger,mlflow,data,imports,rendering,images,previews,updates,launch,trainings]

Runs one bench after the other, those on a cluster where the shell has one (`devkit env`), and writes
docs/performance.md from what all runs so far have left in bench/results. Ends with 1 where a bench failed, or a ratio
has become worse by more than a tenth.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.table import fallen, load
from docs import performance


@dataclass(frozen=True)
class Bench:
    """A program of this folder with its options, enough runs for the table among them."""

    arguments: Sequence[str]
    on_a_cluster: bool = False


BENCHES: Mapping[str, Bench] = {
    "server": Bench(["bench.serve", "--rounds", "10"]),
    "larger": Bench(["bench.larger_models"]),
    "mlflow": Bench(["bench.mlflow_models", "--rounds", "10"]),
    "data": Bench(["bench.data_pipeline", "--beside", "1000000", "--repeats", "10"]),
    "imports": Bench(["bench.imports"]),
    "rendering": Bench(["bench.rendering"]),
    "images": Bench(["bench.images"], on_a_cluster=True),
    "previews": Bench(["bench.service_previews"], on_a_cluster=True),
    "updates": Bench(["bench.service_updates"], on_a_cluster=True),
    "launch": Bench(["bench.training_job", "--only", "workers"], on_a_cluster=True),
    "trainings": Bench(["bench.trainings", "--runs", "10"], on_a_cluster=True),
}


def run(names: Sequence[str]) -> list[str]:
    """Runs the benches; returns the names of those that failed."""
    failed = []
    for name in names:
        bench = BENCHES[name]
        if bench.on_a_cluster and "MODELOPS_PLATFORM" not in os.environ:
            print(f"{name}: left out, there is no cluster (make up)", flush=True)
            continue
        print(f"{name}: python -m {' '.join(bench.arguments)}", flush=True)
        if subprocess.run([sys.executable, "-m", *bench.arguments]).returncode:
            failed.append(name)
    return failed


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHES), help="the benches to run, with commas between")
    names = parser.parse_args().only.split(",")
    if unknown := sorted(set(names) - BENCHES.keys()):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(BENCHES)}")
    before = load()
    failed = run(names)
    after = load()
    performance.write(after)
    print("", *performance.console(after), sep="\n")
    worse = fallen(before, after)
    for problem in [f"{name} failed, see above" for name in failed] + [f"worse: {line}" for line in worse]:
        print(problem, file=sys.stderr)
    return 1 if failed or worse else 0


if __name__ == "__main__":
    sys.exit(main())
