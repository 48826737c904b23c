"""The servers under test, each in its own processes on the first core."""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.load import JSON, SERVER_CORE, BenchError, Run, load
from devkit.paths import REPOSITORY, cache_root

REFERENCES = Path(__file__).with_name("references")
ROWS = {"inputs": [[0.5]]}
TENSOR = {"inputs": [{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}]}
START_SECONDS = 180
HALF = b"\0\0\0\x3f"
"""0.5 as binary data."""
GRPC_PORTS = 1000
"""How far the port for gRPC is from the one for HTTP."""


@dataclass(frozen=True)
class Server:
    """How to start a server, and how to request its prediction for 0.5."""

    name: str
    command: Callable[[int], list[str]]
    """The command for a port."""
    path: str
    request: dict[str, Any]
    answer: Callable[[Any], float]
    """The prediction in its response."""
    python: Path = Path(sys.executable)
    packages: tuple[str, ...] = ()
    """The packages whose versions are recorded."""
    env: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    """The body of the load, where it is not the request as JSON."""
    headers: tuple[str, ...] = JSON
    grpc: str = ""
    """The method to call, where the load is not sent to `path`."""
    sources: bool = False
    """Whether it runs this repository's sources by another interpreter than ours."""

    @property
    def body(self) -> bytes:
        return self.content or json.dumps(self.request).encode()


def rows(name: str, command: Callable[[int], list[str]], path: str = "/api/predict", **more: Any) -> Server:
    """A server that takes `{"inputs": [[0.5]]}`."""
    return Server(name, command, path, ROWS, lambda answer: float(answer["outputs"][0]), **more)


def tensor(name: str, command: Callable[[int], list[str]], **more: Any) -> Server:
    """A server that takes an Open Inference Protocol request."""
    return Server(
        name, command, "/v2/models/line/infer", TENSOR, lambda answer: float(answer["outputs"][0]["data"][0]), **more
    )


def ours(**env: str) -> Server:
    return rows("modelops", lambda _port: [sys.executable, "-m", "modelops_runtime", "serve"], env=env)


def ours_by_open_protocol() -> Server:
    return tensor(
        "modelops by the Open Inference Protocol", lambda _port: [sys.executable, "-m", "modelops_runtime", "serve"]
    )


def ours_with_binary_data() -> Server:
    head = {"name": "input", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    text = json.dumps({"inputs": [head], "parameters": {"binary_data_output": True}}).encode()
    return replace(
        ours_by_open_protocol(),
        name="the same with binary data",
        content=text + HALF,
        headers=(f"inference-header-content-length: {len(text)}", "content-type: application/octet-stream"),
    )


def ours_by_grpc(*, raw: bool) -> Server:
    from modelops_runtime.serving.open_inference.messages import SERVICE, message

    request = message("ModelInferRequest")(model_name="line")
    tensor = request.inputs.add(name="input", datatype="FP32", shape=[1, 1])
    if raw:
        request.raw_input_contents.append(HALF)
    else:
        tensor.contents.fp32_contents.append(0.5)
    content = request.SerializeToString()
    return replace(
        ours_by_open_protocol(),
        name=f"gRPC, {'raw' if raw else 'by type'}",
        content=b"\0" + len(content).to_bytes(4, "big") + content,
        headers=("content-type: application/grpc", "te: trailers"),
        grpc=f"{SERVICE}/ModelInfer",
    )


def ours_on_the_stock_protocol() -> Server:
    program = str(REFERENCES / "stock_protocol.py")
    return rows("modelops on uvicorn's own protocol", lambda _port: [sys.executable, program])


def fastapi_keras() -> Server:
    program = str(REFERENCES / "fastapi_keras.py")
    packages = ("fastapi", "uvicorn", "keras", "tensorflow-cpu")
    return rows("FastAPI + Keras tf.function", lambda _port: [sys.executable, program], packages=packages)


def bare_asgi() -> Server:
    program = str(REFERENCES / "bare_asgi.py")
    return rows(
        "a bare LiteRT ASGI app", lambda _port: [sys.executable, program], packages=("uvicorn", "ai-edge-litert")
    )


def kserve() -> Server:
    python = venv("kserve")
    program = str(REFERENCES / "kserve_model.py")
    return tensor("KServe", lambda _port: [str(python), program], python=python, packages=("kserve", "uvicorn"))


def mlserver(folder: Path) -> Server:
    python = venv("mlserver")
    settings = {"name": "line", "implementation": "mlserver_model.LineModel"}
    (folder / "model-settings.json").write_text(json.dumps(settings))

    def command(port: int) -> list[str]:
        server = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1000, "metrics_port": port + 2000}
        # 0: predictions in the server's process; a pool of workers would cost more than so small a model.
        (folder / "settings.json").write_text(json.dumps({**server, "parallel_workers": 0, "debug": False}))
        return [str(python.with_name("mlserver")), "start", str(folder)]

    return tensor("MLServer", command, python=python, packages=("mlserver", "uvicorn"))


def bentoml(folder: Path) -> Server:
    python = venv("bentoml")

    def command(port: int) -> list[str]:
        options = ["--working-dir", str(REFERENCES), "--host", "127.0.0.1", "--port", str(port)]
        return [str(python.with_name("bentoml")), "serve", "bentoml_service:LineService", *options]

    return Server(
        "BentoML",
        command,
        "/predict",
        ROWS,
        lambda answer: float(answer[0]),
        python=python,
        packages=("bentoml",),
        env={"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"},
    )


def venv(name: str) -> Path:
    """The interpreter of a cached virtual environment with `requirements-<name>.txt` installed.

    Raises BenchError with pip's last lines when it can't be created.
    """
    requirements = REFERENCES / f"requirements-{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_root() / "bench" / f"{name}-{mark}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {name} in {folder}", flush=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
        for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise BenchError(f"{name} can't be installed: {done.stderr.strip()[-800:]}")
        (folder / "complete").touch()
    return python


def extra(name: str) -> Path:
    """A cached folder of packages with the model's `requirements-serve-<name>.txt`."""
    requirements = REPOSITORY / "model" / f"requirements-serve-{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_root() / "bench" / f"{name}-{mark}"
    if not (folder / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        subprocess.run([*pip, "--target", folder, "-r", requirements], check=True)
        (folder / "complete").touch()
    return folder


def versions(server: Server) -> dict[str, str]:
    """Versions of Python and of the server's main packages."""
    program = (
        "import importlib.metadata as m, json, platform, sys;"
        "print(json.dumps({'python': platform.python_version(), **{n: m.version(n) for n in sys.argv[1:]}}))"
    )
    done = subprocess.run([str(server.python), "-c", program, *server.packages], capture_output=True, text=True)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {"unknown": done.stderr[-200:]}


class Running:
    """A started server, paused while others are measured."""

    def __init__(self, server: Server, model_dir: Path, port: int, log: Path) -> None:
        self.server = server
        self.port = port
        self._log = log
        env = {
            **os.environ,
            "MODELOPS_MODEL_DIR": str(model_dir),
            "MODELOPS_PORT": str(port),
            "OPENBLAS_NUM_THREADS": "1",
        }
        env |= {"MODELOPS_HOST": "127.0.0.1", "MODELOPS_DRAIN_SECONDS": "0", "TF_CPP_MIN_LOG_LEVEL": "3", **server.env}
        source_folders = (
            [REPOSITORY, REPOSITORY / "model"] if server.sources or server.python == Path(sys.executable) else []
        )
        if server.grpc:
            env["MODELOPS_GRPC_PORT"] = str(port + GRPC_PORTS)
            source_folders.append(extra("grpc"))
        env["PYTHONPATH"] = ":".join(map(str, [REFERENCES, *source_folders]))
        self._started = time.perf_counter()
        with log.open("w") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), *server.command(port)],
                env=env,
                cwd=REPOSITORY if server.python == Path(sys.executable) else log.parent,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self.seconds_to_answer = self._wait()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        if self.server.grpc:
            return f"http://127.0.0.1:{self.port + GRPC_PORTS}/{self.server.grpc}"
        return f"http://127.0.0.1:{self.port}{self.server.path}"

    def load(self, seconds: float, connections: int, rate: float | None = None) -> Run:
        server = self.server
        return load(
            self.url,
            server.body,
            seconds=seconds,
            connections=connections,
            rate=rate,
            headers=server.headers,
            http2=bool(server.grpc),
        )

    def _wait(self) -> float:
        """Seconds from the start of the process to its first correct response."""
        while self._process.poll() is None and time.perf_counter() - self._started < START_SECONDS:
            try:
                answer = self.predict()
            except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
                time.sleep(0.005)
                continue
            if abs(answer - 2) > 0.3:
                raise BenchError(f"{self.server.name} predicts {answer} for 0.5")
            return time.perf_counter() - self._started
        raise BenchError(f"{self.server.name} does not respond: {self._log.read_text()[-800:]}")

    def predict(self) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            body = json.dumps(self.server.request)
            connection.request("POST", self.server.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
            if response.status != 200:
                raise ValueError(f"{response.status}: {content}")
            return self.server.answer(content)
        finally:
            connection.close()

    def tree(self) -> list[int]:
        """The server's processes."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
        pids = [self._process.pid]
        for pid in pids:  # grows during the iteration
            pids += children.get(pid, [])
        return pids

    def memory_mb(self) -> float:
        """Resident memory of all its processes."""
        pages = 0
        for pid in self.tree():
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def metric(self, name: str) -> float:
        """The sum of one of our own server's metrics, with any labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(15)

    def _signal(self, number: int) -> None:
        for pid in self.tree():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
