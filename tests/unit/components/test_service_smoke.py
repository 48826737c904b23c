"""ModelService: the smoke test before a new version takes traffic."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import modelops
from modelops import UPSTREAM_IMAGES
from tests.models import write_model
from tests.unit.components.harness import Program, breaks_restricted, container, environment, pod
from tests.unit.components.service import ARGS, serve
from tests.unit.model.support import RunningServer, start_server

CHECK = Path(modelops.__file__).parent / "serving" / "assets" / "smoke_test.py"
TEST = {"inputs": [[0.5]], "outputs": [2.0]}


def smoke_tested(**changes: Any) -> Program:
    return serve({**ARGS, "smoke_test": {**TEST, **changes}})


def test_pods_are_replaced_only_after_the_test() -> None:
    program = smoke_tested()
    assert "demo-smoke-watch" in program.one("Deployment").options["dependencies"]
    assert "demo-smoke" not in [job.name for job in serve(ARGS).of("Job")]


def test_no_service_and_no_deployment_takes_the_tested_pod_for_its_own() -> None:
    program = smoke_tested()
    labels = program.one("Job", "demo-smoke").inputs["spec"]["template"]["metadata"]["labels"]
    for selector in (
        program.one("core/v1:Service").inputs["spec"]["selector"],
        program.one("Deployment").inputs["spec"]["selector"]["matchLabels"],
        program.one("PodDisruptionBudget").inputs["spec"]["selector"]["matchLabels"],
    ):
        assert not selector.items() <= labels.items()
    policy = program.one("NetworkPolicy", "demo").inputs["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= labels.items()


def test_the_new_version_is_a_sidecar_that_does_not_drain() -> None:
    job = smoke_tested().one("Job", "demo-smoke")
    server = container(job, "serve")
    assert server["restartPolicy"] == "Always"
    assert "lifecycle" not in server
    assert environment(job, "serve")["MODELOPS_DRAIN_SECONDS"] == "0"
    assert environment(job, "fetch")["MODELOPS_MODEL_URI"] == ARGS["model_uri"]
    assert pod(job)["restartPolicy"] == "Never"
    assert breaks_restricted(job) == []


def test_the_check_knows_what_to_ask_and_what_to_expect() -> None:
    job = smoke_tested(tolerance=0.5).one("Job", "demo-smoke")
    assert json.loads(environment(job, "check")["MODELOPS_SMOKE_TEST"]) == {**TEST, "tolerance": 0.5}
    assert environment(job, "check")["MODELOPS_SMOKE_URL"] == "http://127.0.0.1:8080/api/predict"
    assert container(job, "check")["image"] == UPSTREAM_IMAGES["python"]
    assert container(smoke_tested(image="python:3").one("Job", "demo-smoke"), "check")["image"] == "python:3"


def test_a_failed_test_is_run_again_by_the_next_update() -> None:
    job = smoke_tested().one("Job", "demo-smoke").inputs
    assert job["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"
    assert job["spec"]["backoffLimit"] == 0
    assert "name" not in job["metadata"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """y = 2x + 1."""
    folder = tmp_path_factory.mktemp("smoke")
    write_model(folder / "model")
    with start_server(folder / "model", folder / "log") as running:
        yield running


def check(port: int, **test: Any) -> "subprocess.CompletedProcess[str]":
    variables = {
        "MODELOPS_SMOKE_TEST": json.dumps({**TEST, "tolerance": 1e-6, **test}),
        "MODELOPS_SMOKE_URL": f"http://127.0.0.1:{port}/api/predict",
    }
    command = [sys.executable, "-c", CHECK.read_text()]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def test_a_right_answer_passes(server: RunningServer) -> None:
    assert check(server.port).returncode == 0
    assert check(server.port, inputs=[[0], [1]], outputs=[1.3, 2.8], tolerance=0.31).returncode == 0
    assert check(server.port, inputs=[[17_500]], outputs=[35_001.002]).returncode == 0, "single precision"


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"outputs": [2.1]}, "outputs[0] is 2.0, must be 2.1 within 2.1e-05"),
        ({"outputs": [2.1], "tolerance": 0.05}, "outputs[0] is 2.0, must be 2.1 within 0.05"),
        ({"inputs": [[17_500]], "outputs": [35_351]}, "outputs[0] is 35001.0, must be 35351 within 0.35351"),
        ({"outputs": [2.0, 3.0]}, "outputs has 1 entries, must have 2 entries"),
        ({"outputs": [[2.0]]}, "outputs[0] is 2.0, must have 1 entries"),
        ({"inputs": [["x"]]}, "answered 422"),
    ],
)
def test_a_wrong_answer_fails_and_says_what_came(server: RunningServer, test: dict[str, Any], said: str) -> None:
    done = check(server.port, **test)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.fixture
def chat() -> Iterator[str]:
    """A server that answers a chat with what it was asked, to whom has the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = f"{asked['model']}: {asked['messages'][0]['content']}"
            body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            allowed = self.headers["Authorization"] == "Bearer first" and asked["temperature"] == 0
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        server.shutdown()


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"answer": "chat: hello"}, ""),
        ({"required": ["^chat", "hel+o"], "forbidden": ["sorry"]}, ""),
        ({"answer": "hello"}, "the answer to 'hello' is 'chat: hello', must be 'hello'"),
        ({"required": ["[0-9]"]}, "the answer to 'hello' is 'chat: hello', must match [0-9]"),
        ({"forbidden": ["hell"]}, "the answer to 'hello' is 'chat: hello', must not match hell"),
    ],
)
def test_a_prompt_must_be_answered_right(chat: str, tmp_path: Path, expected: dict[str, Any], said: str) -> None:
    (tmp_path / "..data").mkdir()  # As the kubelet has it; other names are keys.
    (tmp_path / ".empty").write_text("\n")
    (tmp_path / ".team").write_text("first")
    prompt = {"prompt": "hello", "model": "chat", "max_tokens": 8, **expected}
    variables = {"MODELOPS_SMOKE_TEST": json.dumps({"prompts": [prompt]}), "MODELOPS_SMOKE_URL": chat}
    environ = {**os.environ, **variables, "MODELOPS_API_KEYS_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, CHECK], env=environ, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (1 if said else 0, True), done.stderr


def test_no_answer_fails() -> None:
    done = check(9)
    assert done.returncode == 1
    assert "did not answer" in done.stderr
