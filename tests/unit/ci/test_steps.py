"""The templates' shell steps, really run: with a `pulumi` that says what a real one said, and a real HTTP server."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]

_PULUMI = """#!/bin/sh
echo "$PULUMI_DEBUG_COMMANDS $*" >>"$CALLS"
while [ $# -gt 0 ]; do
    case $1 in
    preview | refresh | up | stack) command=$1 ;;
    --stack) stack=$2 ;;
    --event-log) : >"$2" ;;
    esac
    shift
done
case $command-$stack in
up-*) exit 0 ;;
stack-*) echo "$URL" ;;
refresh-*) cat "$RECORDED/drift.json" ;;
preview-dev) cat "$RECORDED/retrain.json" ;;
preview-staging) cat "$RECORDED/failed.json"; exit 255 ;;
*) echo "error: no stack named '$stack' found" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository as far as the steps need one."""
    shutil.copytree(REPOSITORY / "ci", tmp_path / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "requirements-stack.txt", tmp_path)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "pulumi").write_text(_PULUMI)
    (tmp_path / "tools" / "pulumi").chmod(0o755)
    return tmp_path


@pytest.fixture
def step(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": f"{folder / 'tools'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": "file://nowhere",
            "RECORDED": str(HERE / "previews"),
            "CALLS": str(folder / "calls"),
        }
        command = [str(folder / "ci" / "steps" / f"{name}.sh"), *arguments]
        return subprocess.run(command, env={**known, **environment}, capture_output=True, text=True, cwd="/")

    return run


def test_every_stack_is_previewed_and_one_comment_tells_of_all(folder: Path, step: Callable[..., object]) -> None:
    assert step("preview").returncode == 0
    said = step("comment", "text")
    assert said.returncode == 1 and said.stderr == "failed: staging prod\n"
    assert "- dev: trains 1 run" in said.stdout
    assert "- staging: the preview failed" in said.stdout and "modelops:model.framework" in said.stdout
    assert "- prod: the preview failed" in said.stdout and "no stack named 'prod' found" in said.stdout
    assert "true preview --json" in (folder / "calls").read_text()


def test_where_all_previews_work_the_comment_step_succeeds(step: Callable[..., object]) -> None:
    assert step("preview", STACKS="dev").returncode == 0
    assert step("comment", "text", STACKS="dev").returncode == 0


def test_a_stack_that_was_not_previewed_is_not_told_of(step: Callable[..., object]) -> None:
    step("preview", "dev")
    said = step("comment", "text")
    assert said.returncode == 0 and "prod" not in said.stdout


def test_policies_are_handed_to_the_preview(folder: Path, step: Callable[..., object]) -> None:
    step("preview", "dev", POLICY_PACK="policies")
    assert "--policy-pack policies" in (folder / "calls").read_text()


def test_policies_are_handed_to_the_update_which_knows_more_than_the_preview(
    folder: Path, step: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert step("up", "prod", POLICY_PACK="policies", POLICY_CONFIG="levels.json").returncode == 0
    assert "--policy-pack policies --policy-pack-config levels.json" in (folder / "calls").read_text()


@pytest.mark.parametrize("name", ["comment", "drift"])
def test_the_installed_command_writes_the_comment_where_there_is_one(
    name: str, folder: Path, step: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    command = folder / "tools" / "modelops-preview-comment"
    command.write_text('#!/bin/sh\necho "installed: $*"\n')
    command.chmod(0o755)
    step("preview", "dev", STACKS="dev")
    assert step(name, "text", STACKS="dev").stdout.startswith("installed: ")


def test_an_update_asks_nothing(folder: Path, step: Callable[..., object]) -> None:
    assert step("up", "prod").returncode == 0
    assert (folder / "calls").read_text().split() == "up --yes --skip-preview --non-interactive --stack prod".split()


def test_drift_is_reported_for_every_stack(folder: Path, step: Callable[..., object]) -> None:
    said = step("drift", "text")
    assert said.returncode == 0 and said.stdout.count("drift: 1 changed (model), 1 gone (model)") == 3
    assert "refresh --preview-only" in (folder / "calls").read_text()


@pytest.mark.parametrize("name", ["preview", "up", "smoke", "drift"])
def test_a_missing_back_end_is_named(name: str, step: Callable[..., object]) -> None:
    said = step(name, "dev", PULUMI_BACKEND_URL="")
    assert said.returncode == 2 and "PULUMI_BACKEND_URL is not set" in said.stderr


class _Service(BaseHTTPRequestHandler):
    answer: tuple[int, object] = (200, {"outputs": [2.0]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.answer if "inputs" in asked else (422, {})
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (_Service,), {"answer": getattr(request, "param", _Service.answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/predict"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_smoke_test_asks_for_a_prediction(service: str, step: Callable[..., object]) -> None:
    said = step("smoke", "dev", URL=service)
    assert said.returncode == 0 and '{"outputs": [2.0]}' in said.stdout, said.stderr


@pytest.mark.parametrize("service", [(200, {"error": "no model"}), (200, {"outputs": []})], indirect=True)
def test_the_smoke_test_fails_without_outputs(service: str, step: Callable[..., object]) -> None:
    assert step("smoke", "dev", URL=service).returncode != 0


def test_pulumi_is_fetched_once_in_the_pinned_version(folder: Path, step: Callable[..., object]) -> None:
    lines = (folder / "requirements-stack.txt").read_text().splitlines()
    [version] = [line.removeprefix("pulumi==") for line in lines if line.startswith("pulumi==")]
    archive = folder / f"pulumi-v{version}-linux-x64.tar.gz"
    content = f"#!/bin/sh\necho v{version}\n".encode()
    with tarfile.open(archive, "w:gz") as made:
        entry = tarfile.TarInfo("pulumi/pulumi")
        entry.size, entry.mode = len(content), 0o755
        made.addfile(entry, io.BytesIO(content))
    mirror = {"PULUMI_DOWNLOADS": f"file://{folder}"}
    wrong = step("install_pulumi", PULUMI_SHA256="0" * 64, **mirror)
    assert wrong.returncode != 0 and not (folder / ".pulumi-bin").exists()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert step("install_pulumi", PULUMI_SHA256=digest, **mirror).stdout == f"pulumi {version} installed\n"
    archive.unlink()
    assert step("install_pulumi", **mirror).stdout == f"pulumi {version} is already installed\n"
