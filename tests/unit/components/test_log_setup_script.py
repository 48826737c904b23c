"""The setup Job's script, run as its container runs it, against a server that plays Elasticsearch and Kibana."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelops import MonitoringStack
from modelops.core.assets import asset
from tests.unit.components.harness import run

PUT = [
    "PUT /_ilm/policy/modelops-logs",
    "PUT /_ingest/pipeline/modelops-logs",
    "PUT /_index_template/modelops-logs",
    "PUT /_snapshot/modelops",
    "PUT /_slm/policy/modelops",
    "POST /api/saved_objects/_import?overwrite=true",
]
PASSWORD = "a setup of tests"


@dataclass
class Servers:
    """What was asked, and what is answered."""

    asked: list[str] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    logins: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By request; everything else is taken."""
    url: str = ""


@pytest.fixture
def servers() -> Iterator[Servers]:
    seen = Servers()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            name = f"{self.command} {self.path}"
            seen.asked.append(name)
            seen.bodies[name] = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.logins.add(base64.b64decode(self.headers["Authorization"].partition(" ")[2]).decode())
            taken = '{"success":true}' if "saved_objects" in name else '{"acknowledged":true}'
            status, text = seen.answers.get(name, (200, taken))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_POST = _serve

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen.url = f"http://127.0.0.1:{server.server_port}"
    yield seen
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The files that the component gives the script."""
    snapshots = {"bucket": "logs", "access_key": "a", "secret_key": "s"}
    elk = {"enabled": True, "elasticsearch": {"snapshots": snapshots}}
    program = run(lambda: MonitoringStack("m", {"namespace": "watch", "elk": elk}))  # type: ignore[typeddict-item]
    return dict(program.one("ConfigMap", "m-log-setup").inputs["data"])


@pytest.fixture
def setup(servers: Servers, files: dict[str, str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs the script."""
    for name, text in files.items():
        # An answer is there at once or not at all; and each test has files of its own.
        own = text.replace("--retry 30", "--retry 0").replace("/setup/", f"{tmp_path}/")
        (tmp_path / name).write_text(own.replace("/tmp/answer", str(tmp_path / "answer")))

    def start() -> subprocess.CompletedProcess[str]:
        variables = {
            "PATH": os.environ["PATH"],
            "ELASTICSEARCH_URL": servers.url,
            "KIBANA_URL": servers.url,
            "USERNAME": "modelops_setup",
            "PASSWORD": PASSWORD,
        }
        return subprocess.run(
            ["/bin/sh", tmp_path / "setup.sh"], env=variables, capture_output=True, text=True, check=False
        )

    return start


def test_everything_is_put_and_a_second_run_puts_the_same(servers: Servers, setup) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2):
        servers.asked.clear()
        done = setup()
        assert done.returncode == 0, done.stderr
        assert servers.asked == PUT
    assert servers.logins == {f"modelops_setup:{PASSWORD}"}
    assert json.loads(servers.bodies[PUT[0]])["policy"]["phases"]["delete"]["min_age"] == "14d"
    imported = servers.bodies[PUT[-1]].decode()
    assert all(line in imported for line in asset("monitoring/logs/assets/kibana/objects.ndjson").splitlines())
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("refused", PUT)
def test_what_is_refused_fails_the_job_and_is_said(servers: Servers, setup, refused: str) -> None:  # type: ignore[no-untyped-def]
    servers.answers[refused] = (400, '{"error":"no such thing"}')
    done = setup()
    assert done.returncode != 0
    assert "returned 400" in done.stderr and "no such thing" in done.stderr
    assert servers.asked == PUT[: PUT.index(refused) + 1]


def test_objects_that_kibana_takes_in_part_fail_the_job(servers: Servers, setup) -> None:  # type: ignore[no-untyped-def]
    servers.answers[PUT[-1]] = (200, '{"success":false,"errors":[{"id":"modelops-logs"}]}')
    done = setup()
    assert done.returncode != 0
    assert "did not import every object" in done.stderr and '"id":"modelops-logs"' in done.stderr
