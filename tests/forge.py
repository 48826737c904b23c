"""A forge on this machine that keeps one project's comments and issues by the rules of GitHub's and GitLab's APIs."""

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "the-token-of-the-test"
BOT = "github-actions[bot]"
MAX_BODY = {"github": 65_536, "gitlab": 1_000_000}
MAX_PAGE = 100
"""A larger `per_page` is taken as this, without a word."""


class Forge:
    """Comments and issues of `team/app`. An entry belongs to the owner of the token that made it."""

    def __init__(self) -> None:
        self.owners = {TOKEN: BOT}
        """Login by token; the token of a login `…[bot]` belongs to an app."""
        self.notes: list[dict[str, Any]] = []
        self.issues: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        """Answers to give before anything else."""
        self.tokens: list[str] = []

    def answer(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], token: str = TOKEN
    ) -> tuple[int, Any]:
        owner = self.owners.get(token)
        if owner is None:
            return 401, {"message": "Bad credentials"}
        if path == "/graphql":
            known = "viewer" in body.get("query", "")
            return 200, {"data": {"viewer": {"login": owner}}} if known else {"errors": [{"message": "Parse error"}]}
        if path == "/user":  # GitLab's bots are users
            return 200, {"username": owner}
        if found := re.fullmatch(r"/(repos/team/app|projects/team%2Fapp)/(.*)", path):
            kind = "github" if found[1].startswith("repos") else "gitlab"
            return self._project(kind, owner, method, found[2], query, body)
        return 404, {}

    def _project(
        self, kind: str, owner: str, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        if len(body.get("body", body.get("description", ""))) > MAX_BODY[kind]:
            return 422, {"message": "Validation Failed: body is too long"}
        one = re.fullmatch(r"(?:issues/comments|merge_requests/7/notes|issues)/(\d+)", path)
        if re.fullmatch(r"issues/7/comments|merge_requests/7/notes", path):
            return self._many(kind, owner, method, self.notes, query, body)
        if path == "issues":
            default = "open" if kind == "github" else "all"
            state = query.get("state", default)
            matching = [issue for issue in self.issues if state in ("all", issue["state"])]
            return self._many(kind, owner, method, self.issues if method == "POST" else matching, query, body)
        if one and method == ("PATCH" if kind == "github" else "PUT"):
            entries = self.issues if re.fullmatch(r"issues/\d+", path) else self.notes
            [entry] = [entry for entry in entries if entry["id"] == int(one[1])]
            if self._author(entry) != owner:
                return 403, {"message": "Must have admin rights to Repository."}
            if body.pop("state_event", None) == "close":
                body["state"] = "closed"
            entry.update(body)
            return 200, entry
        return 404, {}

    @staticmethod
    def _author(entry: dict[str, Any]) -> str:
        user = entry.get("user") or entry["author"]
        return str(user.get("login") or user["username"])

    def _many(
        self,
        kind: str,
        owner: str,
        method: str,
        entries: list[dict[str, Any]],
        query: dict[str, str],
        body: dict[str, Any],
    ) -> tuple[int, Any]:
        if method == "GET":
            size, page = min(int(query.get("per_page", 30)), MAX_PAGE), int(query.get("page", 1))
            return 200, entries[(page - 1) * size : page * size]
        number = len(entries) + 1
        author = {"user": {"login": owner}} if kind == "github" else {"author": {"username": owner}}
        state = "open" if kind == "github" else "opened"
        entries.append({"id": number, "number": number, "iid": number, "state": state, **author, **body})
        return 201, entries[-1]


@contextmanager
def serving(forge: Forge) -> Iterator[str]:
    """The address of the forge's API."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            parts = urllib.parse.urlsplit(self.path)
            forge.requests.append((self.command, parts.path))
            authorization = self.headers.get("Authorization", "").removeprefix("Bearer ")
            token = authorization or self.headers.get("PRIVATE-TOKEN", "")
            forge.tokens.append(token)
            headers: dict[str, str] = {}
            if forge.failures:
                (status, headers), answer = forge.failures.pop(0), {}
            else:
                query = dict(urllib.parse.parse_qsl(parts.query))
                status, answer = forge.answer(self.command, parts.path, query, body, token)
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
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
