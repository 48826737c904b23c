"""Posting: against a real HTTP server on this machine that keeps comments and issues as GitHub and GitLab do."""

import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from preview_comment import main

HERE = Path(__file__).parent
TOKEN = "the-token-of-the-test"
BOT = "github-actions[bot]"


class FakeHost:
    """Comments and issues of one project."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        """Answers to give before anything else."""
        self.tokens: list[str] = []

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/user":
            return 200, {"username": BOT}
        if found := re.fullmatch(r"/(?:repos/team/app|projects/team%2Fapp)/(.*)", path):
            return self._project(method, found[1], query, body)
        return 404, {}

    def _project(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        one = re.fullmatch(r"(?:issues/comments|merge_requests/7/notes|issues)/(\d+)", path)
        if re.fullmatch(r"issues/7/comments|merge_requests/7/notes", path):
            return self._many(method, self.notes, query, body)
        if path == "issues":
            wanted = [issue for issue in self.issues if issue["state"] == query.get("state", issue["state"])]
            return self._many(method, self.issues if method == "POST" else wanted, query, body)
        if one and method in ("PATCH", "PUT"):
            entries = self.issues if re.fullmatch(r"issues/\d+", path) else self.notes
            [entry] = [entry for entry in entries if entry["id"] == int(one[1])]
            if body.pop("state_event", None) == "close":
                body["state"] = "closed"
            entry.update(body)
            return 200, entry
        return 404, {}

    def _many(
        self, method: str, entries: list[dict[str, Any]], query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        if method == "GET":
            size, page = int(query["per_page"]), int(query["page"])
            return 200, entries[(page - 1) * size : page * size]
        number = len(entries) + 1
        entries.append({"id": number, "number": number, "iid": number, "user": {"login": BOT}, "state": "open", **body})
        return 201, entries[-1]


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def address(host: FakeHost) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            parts = urllib.parse.urlsplit(self.path)
            host.requests.append((self.command, parts.path))
            authorization = self.headers.get("Authorization", "").removeprefix("Bearer ")
            host.tokens.append(authorization or self.headers.get("PRIVATE-TOKEN", ""))
            headers: dict[str, str] = {}
            if host.failures:
                (status, headers), answer = host.failures.pop(0), {}
            else:
                query = dict(urllib.parse.parse_qsl(parts.query))
                status, answer = host.answer(self.command, parts.path, query, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = do_PUT = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["github", "gitlab"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def post(kind: str, address: str) -> Callable[..., int]:
    environment = {
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": "team/app",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_API_URL": address,
        "GITLAB_TOKEN": TOKEN,
        "CI_PROJECT_ID": "team/app",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_API_V4_URL": address,
    }

    def run(name: str, *more: str, **changed: str) -> int:
        return main([str(HERE / "previews" / f"{name}.json"), "--post", kind, *more], {**environment, **changed})

    return run


def test_one_comment_is_made_and_then_updated_in_place(
    host: FakeHost, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [post(name) for name in ("create", "retrain", "retrain")] == [0, 0, 0]
    assert capsys.readouterr().out.split("\n") == ["comment created", "comment updated", "comment unchanged", ""]
    [note] = host.notes
    assert "trains 1 run" in note["body"]
    assert set(host.tokens) == {TOKEN}


def test_its_comment_is_found_behind_hundreds_of_others(host: FakeHost, post: Callable[..., int]) -> None:
    host.notes = [{"id": n, "user": {"login": "somebody"}, "body": f"word {n}"} for n in range(1, 251)]
    assert [post("create"), post("retrain")] == [0, 0]
    assert len(host.notes) == 251


def test_a_comment_of_somebody_else_with_its_marker_is_left_alone(host: FakeHost, post: Callable[..., int]) -> None:
    host.notes = [{"id": 1, "user": {"login": "mallory"}, "body": "<!-- preview-comment:preview --> mine"}]
    assert post("create") == 0
    assert host.notes[0]["body"].endswith("mine") and len(host.notes) == 2


def test_two_keys_are_two_comments(host: FakeHost, post: Callable[..., int]) -> None:
    assert [post("create"), post("create", "--key", "other"), post("create")] == [0, 0, 0]
    assert len(host.notes) == 2


def test_drift_keeps_one_issue_and_closes_it_when_it_is_gone(
    kind: str, host: FakeHost, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    opened = "open" if kind == "github" else "opened"
    assert post("unchanged", "--drift") == 0
    assert host.issues == []
    assert post("drift", "--drift") == 0
    host.issues[0]["state"] = opened
    assert [post("drift", "--drift"), post("unchanged", "--drift")] == [0, 0]
    assert capsys.readouterr().out.split("\n")[:4] == [
        "issue nothing to report",
        "issue opened",
        "issue unchanged",
        "issue closed",
    ]
    [issue] = host.issues
    assert issue["title"] == "Drift" and issue["state"] == "closed"


def test_a_busy_host_is_asked_again(host: FakeHost, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    host.failures = [(503, {}), (429, {"Retry-After": "7"})]
    assert post("create") == 0
    assert waited == [1, 7] and len(host.notes) == 1


def test_a_comment_that_may_have_been_taken_is_not_sent_twice(
    host: FakeHost, post: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = host.answer

    def flaky(method: str, *rest: Any) -> tuple[int, Any]:
        status, answer = taken(method, *rest)
        return (502, {}) if method == "POST" else (status, answer)

    monkeypatch.setattr(host, "answer", flaky)
    assert post("create") == 3
    assert len(host.notes) == 1


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (401, {}, "the token is not valid there"),
        (403, {}, "`pull-requests: write`"),
        (404, {}, "no such project or number"),
        (302, {"Location": "http://127.0.0.1:1/"}, "the host redirects"),
    ],
)
def test_a_refusal_says_what_to_do_and_never_the_token(
    status: int,
    headers: dict[str, str],
    message: str,
    host: FakeHost,
    post: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    host.failures = [(status, headers)]
    assert post("create") == 3
    said = capsys.readouterr().err
    assert message in said and TOKEN not in said
    assert len(host.requests) == 1


def test_a_host_out_of_reach_is_named(
    post: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert post("create", "--api", "http://127.0.0.1:1") == 3
    assert "http://127.0.0.1:1 is out of reach" in capsys.readouterr().err


def test_a_token_is_never_sent_in_clear(post: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert post("create", "--api", "http://git.example.com") == 2
    assert "must be https://" in capsys.readouterr().err


def test_outside_of_a_pull_request_a_number_is_asked_for(
    kind: str, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert post("create", GITHUB_REF="refs/heads/main", CI_MERGE_REQUEST_IID="") == 2
    assert "--number is missing" in capsys.readouterr().err
    assert post("create", "--number", "7", GITHUB_REF="refs/heads/main", CI_MERGE_REQUEST_IID="") == 0
