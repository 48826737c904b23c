"""What serving a larger model costs beside its bare runtime: predictions over HTTP, and in a loop without a server.

    python -m bench.larger_models [--seconds 5] [--rounds 10] [--connections 16]

One row a request, on the first core both times; the load comes from the last one. The two take turns.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.goals import GOALS
from bench.load import SERVER_CORE, install
from bench.models import MEGABYTE_WIDTH, table_row
from bench.serve import RESULTS, Row, by_round, make_model, row, show, spread, started
from bench.servers import REFERENCES, Running, Server
from devkit.paths import REPOSITORY

GOAL = GOALS["predict, larger models"]
MODELS: dict[str, tuple[str, list[Any]]] = {
    "a model of 1 MB": ("megabyte", [0.5] * MEGABYTE_WIDTH),
    "a table of 100 columns with preprocessing": ("table", table_row()),
}


def loop(model: Path, request: dict[str, Any], seconds: float) -> float:
    """Predictions a second of the bare runtime."""
    environment = {**os.environ, "MODELOPS_MODEL_DIR": str(model), "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(REPOSITORY / "model")
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, str(REFERENCES / "runtime_loop.py"), str(seconds)]
    done = subprocess.run(command, input=json.dumps(request), env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the bare runtime can't be measured: {done.stderr[-2000:]}")
    return float(done.stdout)


def measured(title: str, folder: Path, options: argparse.Namespace) -> Row:
    """The row of a model."""
    kind, inputs = MODELS[title]
    model, request = make_model(kind, folder), {"inputs": [inputs]}
    command = [sys.executable, "-m", "modelops_runtime", "serve"]
    # `started` compares the answer with the sample's.
    server = Server("modelops", lambda _port: command, "/api/predict", request, lambda answer: 2 + 0 * len(answer))
    ours, bare = [], []
    with ExitStack() as stack:
        [running] = started([lambda: server], model, folder, stack)
        if not isinstance(running, Running):
            raise SystemExit(f"our own server can't be measured: {running}")
        for number in range(options.rounds):
            print(f"{title}: round {number + 1} of {options.rounds}", flush=True)
            running.resume()
            ours.append(running.load(options.seconds, options.connections).requests_per_second)
            running.pause()
            bare.append(loop(model, request, options.seconds))
    found = row(title, "predictions/s", ours, GOAL, reference=spread(bare), runs={"reference": bare})
    ratio = by_round(ours, bare)
    return {**found, "ratio": ratio, "met": GOAL.met(ratio)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    conditions = {"load": install(), "python": platform.python_version(), **vars(options)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rows = [{**measured(title, Path(folder), options), "conditions": conditions} for title in MODELS]
    (RESULTS / "larger.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    show(rows)


if __name__ == "__main__":
    main()
