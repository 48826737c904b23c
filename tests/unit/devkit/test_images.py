"""Names of images, and what is asked of a registry before a part is turned off."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devkit import images
from tests.tokens import Answer, Issuer, issuing, serving


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("grafana/grafana:12.0.0", ("registry-1.docker.io", "grafana/grafana", "12.0.0")),
        ("busybox", ("registry-1.docker.io", "library/busybox", "latest")),
        ("docker.io/prom/prometheus:v3", ("registry-1.docker.io", "prom/prometheus", "v3")),
        ("ghcr.io/mlflow/mlflow:v3.17.2", ("ghcr.io", "mlflow/mlflow", "v3.17.2")),
        ("localhost:5000/a/b@sha256:0f", ("localhost:5000", "a/b", "sha256:0f")),
        ("localhost:5000/a/b:tag@sha256:0f", ("localhost:5000", "a/b", "sha256:0f")),
    ],
)
def test_an_image_name_is_split_by_dockers_rules(image: str, parts: tuple[str, str, str]) -> None:
    assert images.split(image) == parts


class _Registry(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        known = self.path == "/v2/team/known/manifests/1"
        private = self.path.startswith("/v2/team/private/")
        if private and self.headers.get("Authorization") != "Bearer let-me-in":
            realm = f"http://localhost:{self.server.server_address[1]}/token"
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="s",scope="pull"')
        else:
            self.send_response(200 if known or private else 404)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"token": "let-me-in"}')

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def registry() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("localhost", 0), _Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"localhost:{server.server_address[1]}"
    server.shutdown()


def test_images_that_a_registry_has_are_available(registry: str) -> None:
    assert images.check([f"{registry}/team/known:1", f"{registry}/team/private:2"]) == {}


def test_an_image_that_a_registry_lacks_is_named_with_its_answer(registry: str) -> None:
    image = f"{registry}/team/absent:1"
    assert images.check([image]) == {image: f"{registry} responds with 404"}


def answering(issuer: Issuer | None, challenge: str) -> Any:
    """A registry that wants a token of the issuer, and challenges so."""

    def answer(method: str, target: str, headers: Any, _body: bytes) -> Answer:
        if issuer is not None and not issuer.refusal(method, target, headers):
            return 200, b"", {}
        return 401, b"", {"WWW-Authenticate": challenge} if challenge else {}

    return serving(answer)


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="http://{0}/token",service="s",scope="repository:team/a:pull"',
        'bearer scope="repository:team/a:pull", realm="http://{0}/token?account=a"',
        'Basic realm="x", Bearer realm="http://{0}/token",service=s,scope="repository:team/a:pull"',
    ],
)
def test_a_token_is_asked_of_the_issuer_that_the_registry_names(challenge: str) -> None:
    with issuing(Issuer()) as issuer, answering(issuer, challenge.format(issuer.host)) as host:
        assert images.check([f"{host}/team/a:1"]) == {}
        assert [query["scope"] for query, _ in issuer.asked] == [["repository:team/a:pull"]]


@pytest.mark.parametrize(
    ("challenge", "answer", "said"),
    [
        ('Basic realm="x"', b"", "can't be asked: it wants a login"),
        ("", b"", "can't be asked: it wants a login"),
        ('Bearer realm="file:///etc/hostname"', b"", "can't be asked: it wants a login"),
        ('Bearer realm="http://{0}/token"', b"{}", "can't be asked: it gives no token"),
        ('Bearer realm="http://{0}/token"', b"[]", "can't be asked: it gives no token"),
        ('Bearer realm="http://{0}/token"', b'{"token": "no"}', "responds with 401"),
    ],
)
def test_an_image_for_which_there_is_no_token_is_named(challenge: str, answer: bytes, said: str) -> None:
    with serving(lambda *_: (200, answer, {})) as issuer, answering(None, challenge.format(issuer)) as host:
        image = f"{host}/team/a:1"
        assert images.check([image]) == {image: f"{host} {said}"}


def test_a_registry_out_of_reach_is_named() -> None:
    image = "localhost:9/team/known:1"
    assert "localhost:9 is out of reach" in images.check([image])[image]


def test_an_image_without_substitute_is_reported_as_unavailable() -> None:
    found = images.resolve(["localhost:9/grafana/grafana:1"], None, lambda _: None)
    assert list(found.unavailable) == ["localhost:9/grafana/grafana:1"] and found.images == {}


def test_a_name_whose_look_up_takes_minutes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, registry: str) -> None:
    look_up, ended = socket.getaddrinfo, threading.Event()

    def slow(host: str, *more: object, **options: object) -> object:
        if host == "registry.slow.example":
            ended.wait(30)
            raise OSError("no such name")
        return look_up(host, *more, **options)  # type: ignore[arg-type]

    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(images, "_LOOK_UP_SECONDS", 0.3)
    wanted = [f"{registry}/team/known:1", *(f"registry.slow.example/team/{number}:1" for number in range(20))]
    started = time.monotonic()
    problems = images.check(wanted)
    ended.set()
    assert time.monotonic() - started < 10
    assert len(problems) == 20 and set(problems.values()) == {"registry.slow.example does not answer"}


def test_behind_a_proxy_names_need_not_resolve_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert images._silent_hosts({"registry.nowhere.invalid"}) == set()
