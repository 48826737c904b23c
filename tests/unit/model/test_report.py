"""The publisher's report to the component, against a small API server."""

import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.contract import ContractError
from modelops_runtime.registry.publishing.report import Published, report

PUBLISHED = Published("line", "3", "7", "0a1b", {"mse": 0.25})


class _ApiServer(http.server.BaseHTTPRequestHandler):
    seen: dict[str, Any]
    status = 200

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen = {"path": self.path, "headers": dict(self.headers), "body": body}
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b'{"message": "configmaps \\"demo-report\\" is forbidden"}')

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[_ApiServer]]:
    (tmp_path / "token").write_text("secret-token\n")
    handler = type("Handler", (_ApiServer,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MODELOPS_API_SERVER", f"http://127.0.0.1:{server.server_address[1]}")
    yield handler
    server.shutdown()
    server.server_close()


def test_the_run_is_written_into_the_config_map_under_a_field_manager_of_its_own(
    api_server: type[_ApiServer], tmp_path: Path
) -> None:
    report("ml/demo-report", "abc", PUBLISHED, tmp_path)
    seen = api_server.seen
    assert seen["path"] == "/api/v1/namespaces/ml/configmaps/demo-report?fieldManager=modelops-publisher&force=true"
    assert seen["headers"]["Authorization"] == "Bearer secret-token"
    assert seen["headers"]["Content-Type"] == "application/apply-patch+yaml"
    assert seen["body"]["metadata"] == {"name": "demo-report", "namespace": "ml"}
    assert seen["body"]["data"] == {
        "run_id": "abc",
        "version": "3",
        "experiment_id": "7",
        "mlflow_run_id": "0a1b",
        "metrics": '{"mse": 0.25}',
    }


def test_metrics_that_no_config_map_takes_are_left_to_the_registry(
    api_server: type[_ApiServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = dataclasses.replace(PUBLISHED, metrics={f"f1[class {number:080}]": 0.1 for number in range(10_000)})
    report("ml/demo-report", "abc", many, tmp_path)
    assert (api_server.seen["body"]["data"]["version"], api_server.seen["body"]["data"]["metrics"]) == ("3", "{}")
    assert "10000 metrics are too long for a ConfigMap: they are in MLflow alone" in capsys.readouterr().out


def test_a_refusal_is_in_the_api_servers_words(api_server: type[_ApiServer], tmp_path: Path) -> None:
    api_server.status = 403
    with pytest.raises(
        ContractError, match=r'refused the run\'s report: configmaps "demo-report" is forbidden \(HTTP 403\)'
    ):
        report("ml/demo-report", "abc", PUBLISHED, tmp_path)


def test_a_pod_without_a_token_says_so(api_server: type[_ApiServer], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="token: No such file"):
        report("ml/demo-report", "abc", PUBLISHED, tmp_path / "nowhere")
