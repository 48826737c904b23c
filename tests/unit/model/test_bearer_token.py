"""A registry behind a proxy that wants a bearer token: who asks MLflow sends the one that MLflow's clients read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.registry.publishing import quality
from modelops_runtime.registry.sources.client import Registry, credentials

TOKEN = "planted-bearer-token"


class Proxy(BaseHTTPRequestHandler):
    """MLflow for those who have the token."""

    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        admitted = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if admitted:
            self.paths.append(self.path.partition("?")[0])
        self.send_response(200 if admitted else 401)
        self.end_headers()
        answer = {
            "model_version": {"version": "7"},
            "experiment_id": "3",
            "run": {"info": {"run_id": "a"}},
        }
        self.wfile.write(json.dumps(answer if admitted else {}).encode())

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for account in ("MLFLOW_TRACKING", "MODELOPS_SOURCE"):
        for field in ("USERNAME", "PASSWORD", "TOKEN"):
            monkeypatch.delenv(f"{account}_{field}", raising=False)
    Proxy.paths.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("account", ["MLFLOW_TRACKING", "MODELOPS_SOURCE"])
def test_a_version_is_found_with_the_token_of_the_account(
    proxy: str, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    monkeypatch.setenv(f"{account}_TOKEN", TOKEN)
    assert Registry(proxy, 0, account).version("linear", "serving", None) == "7"


def test_without_the_token_it_is_refused_in_words_without_it(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "another-planted-token")
    with pytest.raises(ConfigurationError, match="401") as refused:
        Registry(proxy, 0).version("linear", "serving", None)
    assert "planted" not in str(refused.value)


def test_counts_of_a_version_are_logged_with_the_token(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    report = {
        "rows_read": 3,
        "rows": {"train": 2},
        "missing": {},
        "violation_count": 0,
        "dropped": {},
    }
    quality.log(proxy, "customers", "v1", report)
    assert "/api/2.0/mlflow/runs/create" in Proxy.paths


def test_a_name_and_a_password_come_before_a_token_as_with_mlflows_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    for field, value in (("USERNAME", "ann"), ("PASSWORD", "secret"), ("TOKEN", TOKEN)):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{field}", value)
    assert credentials()["Authorization"].startswith("Basic ")
