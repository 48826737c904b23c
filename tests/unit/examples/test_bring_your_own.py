"""The tutorial of examples/bring-your-own: what it shows is the example, its first step works, its list is complete.

A cluster test does the rest of it: tests/cluster/models/test_bring_your_own.py.
"""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.package.clean_environment import clean_environment

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = REPOSITORY / "examples" / "bring-your-own"
PAGE = (REPOSITORY / "docs" / "tutorial" / "bring-your-own.md").read_text()
ASSETS = [
    *(REPOSITORY / "components" / "modelops" / "monitoring" / "assets" / "rules").glob("*.yaml"),
    *(REPOSITORY / "components" / "modelops" / "monitoring" / "assets" / "dashboards").glob("*.json"),
    *(REPOSITORY / "components" / "modelops" / "serving" / "assets").glob("analyst.py"),
    *(REPOSITORY / "components" / "modelops" / "serving" / "assets").glob("prometheus-adapter.yaml"),
]
LEFT_OUT = {"modelops_prediction_drift", "modelops_feature_drift"}
"""What the tutorial says that the example's server does without."""
ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]


def base(name: str) -> str:
    """The metric that a series belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def listed() -> set[str]:
    """The metrics in the tutorial's table."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return {base(name) for row in rows for name in re.findall(r"\b(?:modelops|process)_\w+", row.split("|")[1])}


@pytest.mark.parametrize("snippet", re.findall(r"```(?:python|dockerfile)\n(.*?)```", PAGE, re.DOTALL))
def test_what_the_tutorial_shows_is_the_example(snippet: str) -> None:
    files = [EXAMPLE / "__main__.py", *(EXAMPLE / "image").iterdir()]
    assert any(snippet in file.read_text() for file in files)


def test_the_tutorial_shows_the_whole_program() -> None:
    assert f"```python\n{(EXAMPLE / '__main__.py').read_text()}```" in PAGE


def test_the_image_gets_nothing_of_this_project() -> None:
    text = "".join(file.read_text() for file in (EXAMPLE / "image").iterdir())
    assert not re.search(r"^\s*(import|from) (modelops|sample)|modelops-(runtime|pulumi)", text, re.MULTILINE)


def test_the_list_has_every_metric_that_is_read_of_a_server() -> None:
    text = "\n".join(file.read_text() for file in ASSETS)
    # Not what a rule records (`service:…`), the registry reports or the adapter makes of them.
    names = re.findall(
        r"(?<![\w:])(?:modelops_(?:request|prediction|feature|in_flight|model_)|process_start_)\w*", text
    )
    assert {base(name) for name in names} - {"modelops_requests_per_second"} == listed()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with what the image has."""
    folder = tmp_path_factory.mktemp("bring-your-own") / "venv"
    venv.create(folder, with_pip=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement"]
    subprocess.run([*command, EXAMPLE / "image" / "requirements.txt"], env=clean_environment(), check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the script."""
    output = tmp_path_factory.mktemp("output")
    environment = {**clean_environment(), "MODELOPS_OUTPUT_DIR": str(output)}
    subprocess.run([installed, "train.py"], cwd=EXAMPLE / "image", env=environment, check=True)
    return output


@contextmanager
def served(python: Path, model: Path, drain_seconds: float) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The server and its port, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"MODEL_DIR": model, "PORT": port, "DRAIN_SECONDS": drain_seconds, "MODEL_NAME": "diabetes"}
    environment = {**clean_environment(), **{f"MODELOPS_{key}": str(value) for key, value in settings.items()}}
    process = subprocess.Popen([python, "serve.py"], cwd=EXAMPLE / "image", env=environment)
    try:
        deadline = time.monotonic() + 60
        while not answers(port, "/healthz/ready"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def asked(connection: http.client.HTTPConnection, body: object) -> tuple[int, Any, bool]:
    """Status, answer, and whether the server closes the connection."""
    connection.request("POST", "/api/predict", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer.will_close


def test_the_script_leaves_a_model_of_mlflow_s_and_its_metrics(trained: Path) -> None:
    assert 0.4 < json.loads((trained / "metrics.json").read_text())["r2"] < 1
    model = (trained / "model" / "MLmodel").read_text()
    assert "signature:" in model and "input_example.json" in model
    pinned = (EXAMPLE / "image" / "requirements.txt").read_text()
    assert (trained / "model" / "requirements.txt").read_text().split() == pinned.split()


def test_the_server_has_what_is_read_of_it(installed: Path, trained: Path) -> None:
    with served(installed, trained / "model", 0) as (_process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        status, answer, _closes = asked(connection, {"inputs": [ROW]})
        assert status == 200 and 25 < answer["outputs"][0] < 350
        assert asked(connection, {"inputs": [[1]]})[0] == asked(connection, {})[0] == 422
        assert not answers(port, "/nowhere") and answers(port, "/healthz/live")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as exposed:
            families = list(text_string_to_metric_families(exposed.read().decode()))
        samples = [sample for family in families for sample in family.samples]
    assert {base(sample.name) for sample in samples} >= listed() - LEFT_OUT
    counted = {
        (sample.labels["path"], sample.labels["code"]): sample.value
        for sample in samples
        if sample.name == "modelops_requests_total"
    }
    assert counted["/api/predict", "200"] == 1 and counted["/api/predict", "422"] == 2 and counted["other", "404"] == 1
    assert {path for path, _code in counted} >= {"/healthz/ready", "/healthz/live"}
    bounds = {sample.labels["le"] for sample in samples if sample.name == "modelops_request_duration_seconds_bucket"}
    assert "0.5" in bounds, "the latency objective reads it"


def test_a_kept_connection_is_asked_to_close_and_loses_no_request(installed: Path, trained: Path) -> None:
    with served(installed, trained / "model", 2) as (process, port):
        connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(4)]
        assert [asked(each, {"inputs": [ROW]})[::2] for each in connections] == [(200, False)] * 4
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert not answers(port, "/healthz/ready")
        assert [asked(each, {"inputs": [ROW]})[::2] for each in connections] == [(200, True)] * 4
        assert process.wait(timeout=30) == 0


def test_without_the_drain_a_kept_connection_loses_its_next_request(installed: Path, trained: Path) -> None:
    """The control of the test above."""
    with served(installed, trained / "model", 0) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        assert asked(connection, {"inputs": [ROW]})[0] == 200
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        with pytest.raises((OSError, http.client.HTTPException)):
            asked(connection, {"inputs": [ROW]})
