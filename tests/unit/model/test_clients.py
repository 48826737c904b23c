"""Other projects' clients, unmodified and of the versions pinned in `tests/requirements-clients-*.txt`, ask our server.

Each runs in an environment of its own in the cache: their dependencies don't fit together, nor beside ours.
"""

import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit.paths import cache_root
from modelops_runtime.artifacts.preprocessing import Preprocessing
from tests.conftest import REPOSITORY
from tests.unit.model.support import RunningServer, start_server
from tests.unit.model.test_preprocessing import with_preprocessing

Rows = list[list[float]]
RIGHT = [[3.0], [1.0]]
"""Of the rows 1 and 0."""
TABLE = Preprocessing(
    ("age", "city"),
    ("age", "city=Lima ü", "city=Rome"),
    ({"column": "city", "kind": "one_hot", "categories": ["Lima ü", "Rome"], "unknown": "error"},),
)


def environment_of(name: str, kind: str = "clients") -> Path:
    """The interpreter of a virtual environment with `requirements-<kind>-<name>.txt`, made if it isn't there."""
    requirements = REPOSITORY / "tests" / f"requirements-{kind}-{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_root() / kind / f"{name}-{mark}"
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
            (folder / "complete").touch()
    return python


@pytest.fixture(scope="module")
def mlserver() -> Path:
    return environment_of("mlserver")


@pytest.fixture(scope="module")
def kserve() -> Path:
    return environment_of("kserve")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[RunningServer]:
    """A server of a model that takes a number and a text: the number, plus one."""
    with_preprocessing(tmp_path / "model", TABLE, [[40.0, "Rome"]])
    with start_server(tmp_path / "model", tmp_path / "log") as running:
        yield running


def answers(python: Path, program: str, server: RunningServer) -> Any:
    command = [python, "-W", "ignore", Path(__file__).parent / "clients" / program, f"127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_triton_s_client_is_answered_in_binary_data_and_in_json(mlserver: Path, server: RunningServer) -> None:
    got = answers(mlserver, "triton.py", server)
    assert got["health"] == [True, True, True]
    assert got["extensions"] == ["binary_tensor_data"]
    assert got["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1]}]
    assert len(got["binary"]) == len(got["json"]) == 12
    assert {str(rows) for rows in (*got["binary"].values(), *got["json"].values())} == {str(RIGHT)}
    assert got["json answer"] == got["in the background"] == RIGHT
    assert got["aio"] == [RIGHT, RIGHT]
    assert (got["dtype"], got["id"]) == ("float32", "7")
    half, brain, single = (rows[0][0] for rows in got["halves"])
    assert half == pytest.approx(2 * 0.0999755859375 + 1, abs=1e-6)
    assert brain == pytest.approx(2 * 0.10009765625 + 1, abs=1e-6)
    assert single == pytest.approx(1.2, abs=1e-6)


def test_triton_s_client_shows_why_it_was_refused(mlserver: Path, server: RunningServer) -> None:
    got = answers(mlserver, "triton.py", server)
    assert got["nan"] == ["422", "inputs[0].data[1] must fit into float32"]
    assert got["shape"] == ["422", "inputs[0].shape must be [1..1024, 1]"]


def test_triton_s_client_sends_text_where_the_model_takes_text(mlserver: Path, table: RunningServer) -> None:
    assert answers(mlserver, "triton_text.py", table) == [[[51.0], [2.0]]] * 2


def test_kserve_s_client_is_answered_in_binary_data_and_in_json(kserve: Path, server: RunningServer) -> None:
    got = answers(kserve, "kserve_rest.py", server)
    assert got["health"] == [True, True, True]
    assert {str(rows) for rows in (*got["binary"].values(), *got["json"].values())} == {str(RIGHT)}
    assert got["binary answer"] == RIGHT
    assert got["id"] == "7"
    assert "inputs[0] must be an object" in got["refused"]


def test_mlserver_s_types_and_codecs_make_requests_that_are_answered(mlserver: Path, server: RunningServer) -> None:
    got = answers(mlserver, "mlserver_requests.py", server)
    assert got["platform"] == "litert"
    assert len(got["types"]) == 5
    assert {str(rows) for rows in got["types"].values()} == {str(RIGHT)}
    assert got["json()"] == got["dict()"] == got["outputs"] == got["request codec"] == RIGHT


def test_mlserver_s_codec_of_data_frames_makes_requests_that_are_answered(mlserver: Path, table: RunningServer) -> None:
    assert answers(mlserver, "mlserver_frame.py", table) == [51.0, 2.0]


@pytest.mark.parametrize("more", [[], ["--binary-data"], ["--batch-size", "3"]])
def test_mlserver_s_batch_client_is_answered(
    mlserver: Path, server: RunningServer, tmp_path: Path, more: list[str]
) -> None:
    tensors = [{"name": "input", "shape": [1, 1], "datatype": "FP32", "data": [number]} for number in range(4)]
    (tmp_path / "in").write_text("\n".join(json.dumps({"inputs": [tensor]}) for tensor in tensors))
    command = [mlserver.with_name("mlserver"), "infer", "-u", f"127.0.0.1:{server.port}", "-m", "line"]
    command += ["-i", tmp_path / "in", "-o", tmp_path / "out", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(answer["outputs"][0]["data"] for answer in got) == [[1.0], [3.0], [5.0], [7.0]], got
