"""References that can move: looked up in the plan and pinned, or refused; drifting only where it is wanted."""

import base64
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pulumi
import pytest

from modelops import ArgumentsError, ModelService
from modelops.core.docker_logins import Login
from modelops.serving import resolve
from tests.tokens import Issuer, issuing
from tests.unit.components.harness import Program, environment, pod, run
from tests.unit.components.service import ARGS, refused, serve

COMMIT, DIGEST = "0e9e39f249a16976918f6564b8830bc894c89659", f"sha256:{'ab' * 32}"
CHAMPION = "models:/linear@champion"
ALIAS = "/api/2.0/mlflow/registered-models/alias?name=linear&alias="
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Server:
    """Answers each path with status, JSON and headers; what it doesn't know is not found."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorized: list[str | None] = field(default_factory=list)
    needs: Callable[[str | None], bool] = lambda _: True
    """Whether an Authorization header is good enough; the answer to others is `challenge`."""
    challenge: str = "Basic"

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def answer(self, path: str, authorization: str | None) -> Answer:
        self.asked.append(path)
        self.authorized.append(authorization)
        if not self.needs(authorization) and not path.startswith("/token"):
            return 401, {}, {"WWW-Authenticate": self.challenge}
        return self.answers.get(path, (404, {"message": "there is no such alias"}))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content, *more = made.answer(unquote(self.path), self.headers["Authorization"])
            body = b"" if self.command == "HEAD" else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        made.url = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield made
        http.shutdown()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lambda message, resource: lines.append(message))
    return lines


def served(program: Program) -> tuple[str, str]:
    """The reference that the pods get, and their version label."""
    deployment = program.one("Deployment")
    labels = deployment.inputs["spec"]["template"]["metadata"]["labels"]
    return environment(deployment, "fetch")["MODELOPS_MODEL_URI"], labels["app.kubernetes.io/version"]


def version(number: str) -> Answer:
    return 200, {"model_version": {"name": "linear", "version": number}}


@pytest.mark.parametrize("preview", [True, False])
def test_an_alias_is_pinned_to_its_version_which_the_plan_says(
    server: Server, said: list[str], *, preview: bool
) -> None:
    server.answers[f"{ALIAS}champion"] = version("7")
    args = {**ARGS, "model_uri": CHAMPION, "tracking_url": server.url, "serving_alias": "live"}
    program = serve(args, preview=preview)
    assert served(program) == ("models:/linear/7", "7")
    promote = environment(program.one("Job", "demo-alias"), "promote")
    assert promote["MODELOPS_MODEL_URI"] == "models:/linear/7"
    assert environment(program.one("Deployment"), "fetch")["MLFLOW_TRACKING_URI"] == ARGS["tracking_uri"]
    assert f"{CHAMPION} is version 7" in said


def test_when_the_alias_has_moved_the_next_plan_shows_another_version(server: Server) -> None:
    args = {**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url}
    for number in ("7", "8"):
        server.answers[f"{ALIAS}champion"] = version(number)
        assert served(serve(args, preview=True)) == (f"models:/linear/{number}", number)


def test_latest_is_the_newest_version(server: Server) -> None:
    query = "filter=name='linear'&order_by=version_number+DESC&max_results=1"
    server.answers[f"/api/2.0/mlflow/model-versions/search?{query}"] = (200, {"model_versions": [{"version": "12"}]})
    args = {**ARGS, "model_uri": "models:/linear/latest", "tracking_uri": server.url}
    assert served(serve(args)) == ("models:/linear/12", "12")


def test_every_track_is_pinned(server: Server) -> None:
    for number, alias in enumerate(("stable", "new", "shade"), 1):
        server.answers[f"{ALIAS}{alias}"] = version(str(number))
    analysis = {"prometheus_url": "http://prometheus:9090"}
    program = serve(
        {
            **ARGS,
            "tracking_url": server.url,
            "model_uri": "models:/linear@stable",
            "canary": {"model_uri": "models:/linear@new", "weight_percent": 50, "analysis": analysis},
            "shadow": {"model_uri": "models:/linear@shade"},
        }
    )
    tracks = {found.name: environment(found, "fetch")["MODELOPS_MODEL_URI"] for found in program.of("Deployment")
              if found.name != "demo-analyst"}  # fmt: skip
    assert tracks == {"demo": "models:/linear/1", "demo-canary": "models:/linear/2", "demo-shadow": "models:/linear/3"}
    settings = json.loads(environment(program.one("Deployment", "demo-analyst"), "analyst")["MODELOPS_ANALYSIS"])
    assert (settings["declared"]["version"], settings["canary"]["version"]) == ("1", "2")


def test_the_standby_is_pinned(server: Server) -> None:
    server.answers[f"{ALIAS}old"] = version("1")
    standby = {"live": "blue", "standby_model_uri": "models:/linear@old"}
    program = serve({**ARGS, "tracking_url": server.url, "blue_green": standby})
    found = environment(program.one("Deployment", "demo-green"), "fetch")
    assert found["MODELOPS_MODEL_URI"] == "models:/linear/1"


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"USERNAME": "ann", "PASSWORD": "pw"}, f"Basic {base64.b64encode(b'ann:pw').decode()}"),
        ({"TOKEN": "secret"}, "Bearer secret"),
    ],
)
def test_the_registry_is_asked_with_the_credentials_of_mlflow_s_clients(
    server: Server, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], header: str
) -> None:
    server.answers[f"{ALIAS}champion"] = version("7")
    server.needs = lambda authorization: authorization == header
    args = {**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url}
    with pytest.raises(ArgumentsError, match="wants other credentials than those in MLFLOW_TRACKING_USERNAME"):
        serve(args)
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    assert served(serve(args)) == ("models:/linear/7", "7")


def test_services_of_one_program_ask_once(server: Server) -> None:
    server.answers[f"{ALIAS}champion"] = version("7")
    args: Any = {**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url}
    run(lambda: [ModelService(name, args) for name in ("one", "two", "three")] and None)
    assert len(server.asked) == 1


def test_a_plan_with_fixed_references_asks_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    for uri in ("models:/linear/3", "models:/linear@run-1", f"hf://team/model@{COMMIT}"):
        serve({**ARGS, "tracking_uri": server.url, "model_uri": uri, "runtime_image": ARGS["image"]})
    assert server.asked == []


def test_a_branch_is_pinned_to_its_commit(server: Server, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "secret")
    for revision in ("main", "refs/pr/1"):
        server.answers[f"/api/models/team/model/revision/{revision}"] = (200, {"sha": COMMIT})
    for uri in ("hf://team/model", "hf://team/model@refs/pr/1"):
        program = run(
            lambda given=uri: ModelService("demo", {"namespace": "ml", "runtime": "vllm", "model_uri": given})  # type: ignore[misc]
        )
        assert environment(program.one("Deployment"), "fetch")["MODELOPS_MODEL_URI"] == f"hf://team/model@{COMMIT}"
        assert f"{uri} is hf://team/model@{COMMIT}" in said
    assert server.authorized == ["Bearer secret", "Bearer secret"]


def tagged(server: Server) -> str:
    server.answers["/v2/team/linear/manifests/v1"] = (200, {}, {"Docker-Content-Digest": DIGEST})
    return f"oci://{server.host}/team/linear:v1"


def mounted(program: Program) -> str:
    [volume] = [each for each in pod(program.one("Deployment"))["volumes"] if each["name"] == "model"]
    return str(volume["image"]["reference"])


def test_a_tag_is_pinned_to_its_digest(server: Server) -> None:
    program = serve({**ARGS, "model_uri": tagged(server)})
    assert mounted(program) == f"{server.host}/team/linear@{DIGEST}"
    assert served(program) == ("file:///modelops/model", "abababababab")


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_private_image_registry_is_asked_as_docker_has_logged_in(server: Server, tmp_path: Path, scheme: str) -> None:
    login = base64.b64encode(b"ann:pw").decode()
    if scheme == "Bearer":
        server.challenge = f'Bearer realm="{server.url}/token",service="s",scope="pull"'
        server.answers["/token?service=s&scope=pull"] = (200, {"token": "passed"})
        server.needs = lambda authorization: authorization == "Bearer passed"
    else:
        server.needs = lambda authorization: authorization == f"Basic {login}"
    uri = tagged(server)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": login}}}))
    assert mounted(serve({**ARGS, "model_uri": uri})) == f"{server.host}/team/linear@{DIGEST}"
    assert (scheme == "Bearer") is any(path.startswith("/token") for path in server.asked)


def test_a_token_comes_from_the_issuer_that_the_registry_names_on_another_host(server: Server, tmp_path: Path) -> None:
    login, uri = base64.b64encode(b"ann:pw").decode(), tagged(server)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": login}}}))
    with issuing(Issuer(login)) as issuer:
        scope = "repository:team/linear:pull"
        server.challenge = f'Basic realm="x", Bearer service=reg, scope="{scope}", realm="http://{issuer.host}/token"'
        server.needs = lambda authorization: authorization == "Bearer token-1"
        assert mounted(serve({**ARGS, "model_uri": uri})) == f"{server.host}/team/linear@{DIGEST}"
        assert issuer.asked == [({"service": ["reg"], "scope": [scope]}, f"Basic {login}")]
    assert server.authorized == [None, "Bearer token-1"], "the registry isn't sent the login"


def test_anybody_may_have_tokens_of_a_public_registry(server: Server) -> None:
    uri = tagged(server)
    with issuing(Issuer()) as issuer:
        server.challenge = f'Bearer realm="http://{issuer.host}/token"'
        server.needs = lambda authorization: authorization == "Bearer token-1"
        assert mounted(serve({**ARGS, "model_uri": uri})) == f"{server.host}/team/linear@{DIGEST}"
        assert issuer.asked == [({}, None)]


def test_a_token_that_the_registry_refuses_is_asked_for_once(server: Server) -> None:
    uri = tagged(server)
    server.needs = lambda _: False
    with issuing(Issuer()) as issuer:
        server.challenge = f'Bearer realm="http://{issuer.host}/token"'
        with pytest.raises(ArgumentsError, match="wants other credentials than those in Docker's configuration"):
            serve({**ARGS, "model_uri": uri})
        assert len(issuer.asked) == 1


def test_a_login_is_not_sent_to_an_issuer_without_tls_for_a_registry_that_has_it() -> None:
    headers = Message()
    headers["WWW-Authenticate"] = 'Bearer realm="http://issuer.example.com/token"'
    with pytest.raises(resolve.Unresolved, match="a server without TLS, which is not sent the login"):
        resolve._answered(resolve._Client(), "registry.example.com", headers, Login("Basic eDp5"), secure=True)


def test_a_private_image_registry_without_a_login_is_named(server: Server) -> None:
    server.needs = lambda authorization: False
    with pytest.raises(ArgumentsError, match="wants other credentials than those in Docker's configuration"):
        serve({**ARGS, "model_uri": tagged(server)})


def test_what_cannot_be_looked_up_is_refused_with_the_reason_and_the_ways_out() -> None:
    args = {**ARGS, "model_uri": CHAMPION, "tracking_uri": "http://registry.invalid:5000"}
    with pytest.raises(ArgumentsError) as caught:
        serve(args, preview=True)
    said = str(caught.value)
    assert f"model_uri is '{CHAMPION}', which can move, and can't be pinned: " in said
    assert "http://registry.invalid:5000 is not reachable from here" in said
    assert "Write models:/linear/<version> or models:/linear@run-…, give tracking_url" in said
    assert "or set allow_drift" in said


def test_an_alias_that_is_not_there_is_refused(server: Server) -> None:
    with pytest.raises(ArgumentsError, match=r"answered: there is no such alias \(HTTP 404\)"):
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url})


def test_what_is_no_registry_is_refused(server: Server) -> None:
    server.answers[f"{ALIAS}champion"] = (200, {"hello": "world"})
    with pytest.raises(ArgumentsError, match="there is no such version"):
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ((200, {"model_version": {"version": "next"}}), "answered 'next', which is no version, commit or digest"),
        ((500, {"message": "Traceback:\n  one\n" + "more\n" * 500}), "answered: Traceback: one more more"),
        ((302, {}, {"Location": "http://elsewhere:port/"}), "can't be asked: the address or the credentials aren't"),
        ((302, {}, {"Location": f"{ALIAS}champion"}), "answered: The HTTP server returned a redirect error"),
    ],
)
def test_whatever_a_server_answers_is_told_in_one_line(server: Server, found: Answer, reason: str) -> None:
    server.answers[f"{ALIAS}champion"] = found
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url})
    said = str(caught.value)
    assert reason in said
    assert "\n" not in said and len(said) < 900


@pytest.mark.parametrize("answer", [b"\x15\x03\x01 hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
def test_what_does_not_speak_http_is_named(answer: bytes) -> None:
    with listening(lambda connection: connection.sendall(answer)) as url, pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": url})
    assert f"pinned: {url}'s answer isn't valid HTTP" in str(caught.value)


def test_a_server_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "TIMEOUT_SECONDS", 0.2)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            connection.sendall(b" ")
            time.sleep(0.1)

    began = time.monotonic()
    with listening(drip) as url, pytest.raises(ArgumentsError, match=f"{url} is not reachable from here: timed out"):
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": url})
    assert time.monotonic() - began < 0.9


def test_services_of_one_program_wait_once_for_a_server_that_does_not_answer(server: Server) -> None:
    args: Any = {**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url}

    def build() -> None:
        for name in ("one", "two", "three"):
            with pytest.raises(ArgumentsError, match=f'"{name}": model_uri'):
                ModelService(name, args)

    run(build)
    assert len(server.asked) == 1


def test_a_password_in_the_address_is_refused_and_never_shown(server: Server) -> None:
    address = server.url.replace("//", "//ann:hush@")
    for given in (address, pulumi.Output.from_input(address)):
        with pytest.raises(Exception) as caught:
            serve({**ARGS, "model_uri": CHAMPION, "tracking_url": given})
        assert "hush" not in str(caught.value) and "…@" in str(caught.value)
    assert server.asked == []


def test_a_token_that_http_forbids_is_refused_without_showing_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "se\ncret")
    with pytest.raises(ArgumentsError) as caught:
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url})
    assert "can't be asked: the address or the credentials aren't what HTTP allows" in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (200, {"sha": "0e9e39f"}, "answered '0e9e39f', which is no version, commit or digest"),
        (404, {"error": "Invalid rev id: main"}, r"answered: Invalid rev id: main \(HTTP 404\)"),
        (401, {}, "wants other credentials than those in HF_TOKEN"),
    ],
)
def test_only_a_whole_commit_pins_a_branch(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, content: Any, reason: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.answers["/api/models/team/model/revision/main"] = (status, content)
    server.needs = lambda _: status != 401
    with pytest.raises(ArgumentsError, match=reason):
        serve({**ARGS, "runtime_image": ARGS["image"], "model_uri": "hf://team/model"})


def test_an_endpoint_without_a_scheme_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.example.com")
    with pytest.raises(ArgumentsError, match=r"'hub.example.com/api/models/team/model/revision/main' is no http"):
        serve({**ARGS, "runtime_image": ARGS["image"], "model_uri": "hf://team/model"})


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": f"sha512:{'ab' * 64}"}])
def test_an_image_registry_that_tells_no_usable_digest_is_refused(server: Server, headers: dict[str, str]) -> None:
    uri = tagged(server)
    server.answers["/v2/team/linear/manifests/v1"] = (200, {}, headers)
    with pytest.raises(ArgumentsError, match=r"doesn't tell the image's digest|which is no version, commit or digest"):
        serve({**ARGS, "model_uri": uri})


@pytest.mark.parametrize("challenge", ['bearer realm="{0}/token"', 'Bearer realm="{0}/token?account=a",service="s"'])
def test_a_challenge_is_read_in_any_spelling(server: Server, challenge: str) -> None:
    server.challenge = challenge.format(server.url)
    for path in ("/token", "/token?account=a&service=s"):
        server.answers[path] = (200, {"access_token": "passed"})
    server.needs = lambda authorization: authorization == "Bearer passed"
    assert mounted(serve({**ARGS, "model_uri": tagged(server)})) == f"{server.host}/team/linear@{DIGEST}"


@pytest.mark.parametrize(
    ("challenge", "token", "reason"),
    [
        ('Bearer realm="{0}/token"', [], "gives no token"),
        ('Bearer realm="{0}/token"', {}, "gives no token"),
        ('Bearer service="s"', {}, "is no http:// or https:// address"),
        ('Bearer realm="file:///etc/hostname"', {}, "is no http:// or https:// address"),
    ],
)
def test_a_registry_that_gives_no_token_is_refused(server: Server, challenge: str, token: Any, reason: str) -> None:
    server.challenge = challenge.format(server.url)
    server.answers["/token"] = (200, token)
    server.needs = lambda _: False
    with pytest.raises(ArgumentsError, match=reason):
        serve({**ARGS, "model_uri": tagged(server)})


@pytest.mark.parametrize("content", ["[]", '{"auths": null}', '{"auths": {"HOST": null}}', "no JSON"])
def test_docker_s_configuration_may_have_no_login(server: Server, tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content.replace("HOST", server.host))
    assert mounted(serve({**ARGS, "model_uri": tagged(server)})) == f"{server.host}/team/linear@{DIGEST}"


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and does `answer`, whatever that is."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with suppress(OSError):  # The other side may have gone.
                answer(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        tcp.daemon_threads = True
        threading.Thread(target=tcp.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{tcp.server_address[1]}"
        tcp.shutdown()


def test_a_plan_waits_a_few_seconds_at_most(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "TIMEOUT_SECONDS", 0.2)
    server.needs = lambda _: time.sleep(1) is None
    began = time.monotonic()
    with pytest.raises(ArgumentsError, match="not reachable from here"):
        serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": server.url})
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    ("uri", "label"), [(CHAMPION, "champion"), ("hf://team/model", "main"), ("oci://r.invalid/team/linear:v1", "v1")]
)
def test_only_where_drifting_is_wanted_do_pods_get_what_can_move(uri: str, label: str) -> None:
    anywhere = {**ARGS, "runtime_image": ARGS["image"], "tracking_uri": "http://registry.invalid:5000"}
    program = serve({**anywhere, "model_uri": uri, "allow_drift": True})
    assert served(program) == (uri if not uri.startswith("oci") else "file:///modelops/model", label)
    if uri.startswith("oci"):
        [volume] = [each for each in pod(program.one("Deployment"))["volumes"] if each["name"] == "model"]
        assert volume["image"] == {"reference": "r.invalid/team/linear:v1", "pullPolicy": "Always"}


def test_an_output_is_pinned_once_it_is_known(server: Server) -> None:
    server.answers[f"{ALIAS}champion"] = version("7")
    for uri, address in ((CHAMPION, server.url), (CHAMPION, later(server.url)), (later(CHAMPION), later(server.url))):
        program = serve({**ARGS, "model_uri": uri, "tracking_url": address}, preview=True)
        assert served(program) == ("models:/linear/7", "7")


def test_an_output_that_cannot_be_pinned_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri, address in ((later(CHAMPION), server.url), (CHAMPION, later(server.url))):
        said = refused({**ARGS, "model_uri": uri, "tracking_uri": address}, monkeypatch)
        assert f"model_uri is '{CHAMPION}', which can move, and can't be pinned: {server.url} answered" in said


def test_a_preview_that_does_not_know_the_registry_yet_says_so(server: Server, said: list[str]) -> None:
    unknown = pulumi.Output.from_input(pulumi.UNKNOWN)
    program = serve({**ARGS, "model_uri": CHAMPION, "tracking_uri": unknown}, preview=True)
    assert CHAMPION not in str(program.one("Deployment").inputs), "nothing that can move gets into a plan"
    assert f"{CHAMPION} is pinned in the update: the registry's address isn't known yet" in said


def test_a_fixed_reference_is_known_whatever_the_registry_s_address() -> None:
    unknown = pulumi.Output.from_input(pulumi.UNKNOWN)
    fixed = later("models:/linear@run-1")
    assert served(serve({**ARGS, "model_uri": fixed, "tracking_uri": unknown}, preview=True))[1] == "run-1"


def later(value: str) -> Any:
    return pulumi.Output.from_input(value)
