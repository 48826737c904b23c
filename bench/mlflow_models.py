"""Models as plain MLflow logs them, side by side with the servers that serve them too: `make bench-mlflow`.

    python -m bench.mlflow_models [--seconds 5] [--rounds 5] [--connections 16]

A request has one row. Each server predicts in its own process, on the first core; the rest is as in `bench.serve`.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import servers
from bench.goals import GOALS
from bench.load import BenchError, install
from bench.serve import Options, Row, by_round, failed, in_turn, row, show, spread, started
from bench.servers import REFERENCES, Running, Server
from devkit.paths import REPOSITORY

RESULTS = REPOSITORY / "bench" / "results" / "mlflow.json"
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
FLOWER = [6.3, 3.3, 6.0, 2.5]
"""Of class 2, which is what every server has to answer."""
SPLIT = {"dataframe_split": {"columns": COLUMNS, "data": [FLOWER]}}
TENSOR = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}]}
JUDGED = {"pyfunc": GOALS["mlflow, pyfunc"], "ONNX": GOALS["mlflow, onnx"]}
"""By how many times the best of the others."""
COLUMN_TENSORS = {
    "inputs": [
        {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [value]}
        for name, value in zip(COLUMNS, FLOWER, strict=True)
    ],
    "parameters": {"content_type": "pd"},
}


def ours(name: str, **env: str) -> Callable[[], Server]:
    def make() -> Server:
        python = servers.venv("mlflow")
        command = [str(python), "-m", "modelops_runtime", "serve"]
        env_ = {"OMP_NUM_THREADS": "1", "MODELOPS_MODEL_NAME": "iris", "MODELOPS_REQUIREMENTS": "warn", **env}
        return Server(
            name,
            lambda _port: command,
            "/invocations",
            SPLIT,
            lambda answer: float(answer["predictions"][0]),
            python=python,
            packages=("mlflow", "scikit-learn", "xgboost-cpu"),
            env=env_,
            sources=True,
        )

    return make


def mlflow_serve(model: Path) -> Server:
    python = servers.venv("mlflow")

    def command(port: int) -> list[str]:
        options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
        return [str(python.with_name("mlflow")), "models", "serve", "-m", str(model), *options]

    return Server(
        "mlflow models serve",
        command,
        "/invocations",
        SPLIT,
        lambda answer: float(answer["predictions"][0]),
        python=python,
        packages=("mlflow", "fastapi", "uvicorn"),
        env={"PATH": f"{python.parent}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )


def mlserver(name: str, implementation: str, uri: Path, request: dict[str, Any], folder: Path) -> Server:
    folder.mkdir()
    python = servers.venv("mlserver-iris")
    settings = {"name": "iris", "implementation": implementation, "parameters": {"uri": str(uri)}}
    (folder / "model-settings.json").write_text(json.dumps(settings))

    def command(port: int) -> list[str]:
        server = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1000, "metrics_port": port + 2000}
        # 0: predictions in the server's process; a pool of workers would cost more than so small a model.
        (folder / "settings.json").write_text(json.dumps({**server, "parallel_workers": 0, "debug": False}))
        return [str(python.with_name("mlserver")), "start", str(folder)]

    return Server(
        name,
        command,
        "/v2/models/iris/infer",
        request,
        lambda answer: float(answer["outputs"][0]["data"][0]),
        python=python,
        packages=("mlserver", "scikit-learn", "xgboost"),
        env={"OMP_NUM_THREADS": "1"},
    )


def bentoml(folder: Path) -> Server:
    folder.mkdir()
    python = servers.venv("bentoml-iris")

    def command(port: int) -> list[str]:
        options = ["--working-dir", str(REFERENCES), "--host", "127.0.0.1", "--port", str(port)]
        return [str(python.with_name("bentoml")), "serve", "bentoml_iris:IrisService", *options]

    return Server(
        "BentoML",
        command,
        "/predict",
        {"inputs": [FLOWER]},
        lambda answer: float(answer[0]),
        python=python,
        packages=("bentoml", "scikit-learn", "xgboost-cpu"),
        env={"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1"},
    )


def measured(kind: str, folder: Path, options: Options) -> list[Row]:
    """Our server's rows for one kind of model, each against the best of the others."""
    folder.mkdir()
    made = subprocess.run(
        [str(servers.venv("mlflow")), str(REFERENCES / "iris.py"), kind, str(folder)], capture_output=True, text=True
    )
    if made.returncode != 0:
        raise SystemExit(f"the model {kind} can't be made: {made.stderr[-2000:]}")
    model = folder / "mlflow"
    native = {"sklearn": "mlserver_sklearn.SKLearnModel", "xgboost": "mlserver_xgboost.XGBoostModel"}[kind]
    file = folder / {"sklearn": "model.joblib", "xgboost": "model.json"}[kind]
    mine = {
        "pyfunc": ours("pyfunc"),
        "pyfunc, one by one": ours("pyfunc, one by one", MODELOPS_BATCH_ROWS="0"),
        "ONNX": ours("ONNX", MODELOPS_ONNX="true"),
    }
    others: list[Callable[[], Server]] = [
        lambda: mlflow_serve(model),
        lambda: mlserver("MLServer", native, file, TENSOR, folder / "mlserver"),
        lambda: mlserver(
            "MLServer (MLflow)", "mlserver_mlflow.MLflowRuntime", model, COLUMN_TENSORS, folder / "mlserver-mlflow"
        ),
        lambda: bentoml(folder / "bentoml"),
    ]
    with ExitStack() as stack:
        candidates = started([*mine.values(), *others], model, folder, stack)
        running = [one for one in candidates if isinstance(one, Running)]
        runs = in_turn(running, options, options.connections)
        versions = {one.server.name: servers.versions(one.server) for one in running}
    rates = {name: [run.requests_per_second for run in made] for name, made in runs.items()}
    references = {name: statistics.median(rates[name]) for name in rates if name not in mine}
    if not references:
        raise SystemExit("none of the other servers could be measured")
    best = max(references, key=lambda name: references[name])
    rows = []
    for name in mine:
        goal, title = JUDGED.get(name), f"{kind} as {name} against the best ({best})"
        if name not in rates:
            rows.append(failed(title, goal, BenchError("could not be measured")))
            continue
        entry = row(title, "requests/s", rates[name], goal, reference=spread(rates[best]))
        ratio = by_round(rates[name], rates[best])
        met, p99 = goal.met(ratio) if goal else None, spread(run.p99_ms for run in runs[name])
        rows.append({**entry, "ratio": ratio, "met": met, "p99_ms": p99, "versions": versions[name]})
    for name in references:
        entry = row(f"{kind}, {name}", "requests/s", rates[name])
        rows.append({**entry, "versions": versions[name], "p99_ms": spread(run.p99_ms for run in runs[name])})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Models of plain MLflow against the other servers of them")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    options = Options(arguments.seconds, arguments.rounds, arguments.connections)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that started servers are stopped
    generator = install()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        rows = [entry for kind in ("sklearn", "xgboost") for entry in measured(kind, Path(name, kind), options)]
    show(rows)
    RESULTS.write_text(json.dumps({"generator": generator, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
