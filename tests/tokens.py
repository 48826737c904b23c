"""Image registries with token authentication: the issuer of the tokens, and small servers that speak HTTP for real."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, bytes, dict[str, str]]
"""Status, body and headers."""


@contextmanager
def serving(answer: Callable[[str, str, Any, bytes], Answer]) -> Iterator[str]:
    """A server on an address of its own, which it yields. `answer` gets method, target, headers and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content, headers = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Issuer:
    """Gives tokens, each another one, for what they are asked for, and knows which are still good."""

    login: str = ""
    """Credentials that it wants, in base64; without them anybody gets a token."""
    identity_token: str = ""
    """What it exchanges for tokens by OAuth 2; without one it knows no such exchange."""
    uses: int = 1000
    """For how many requests a token is good."""
    pulls_only: bool = False
    """Whether its tokens never allow to push, whatever they were asked for."""
    realm: str = "http://{host}/token"
    host: str = ""
    asked: list[tuple[dict[str, list[str]], str | None]] = field(default_factory=list)
    """Query, or form, and Authorization header of each request for a token."""
    seen: list[str] = field(default_factory=list)
    """Authorization headers that the registry got."""
    _good: dict[str, tuple[str, int]] = field(default_factory=dict)

    def issue(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        """The issuer's own answer."""
        exchanges = method == "POST"
        query = parse_qs(body.decode() if exchanges else urlsplit(target).query)
        self.asked.append((query, headers["Authorization"]))
        if exchanges and not self.identity_token:
            return 404, b"", {}
        if exchanges:
            if (query["grant_type"], query["refresh_token"]) != (["refresh_token"], [self.identity_token]):
                return 401, b'{"details": "the token has expired"}', {}
        elif self.login and headers["Authorization"] != f"Basic {self.login}":
            return 401, b'{"details": "incorrect username or password"}', {}
        token = f"token-{len(self.asked)}"
        scope = query.get("scope", [""])[0]
        self._good[f"Bearer {token}"] = (scope.replace(",push", "") if self.pulls_only else scope, self.uses)
        return 200, json.dumps({"access_token" if exchanges else "token": token}).encode(), {}

    def refusal(self, method: str, target: str, headers: Any) -> Answer | None:
        """What the registry answers to a request without a good token for it; None if the token is good."""
        repository = target.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
        action = "pull" if method in ("GET", "HEAD") else "pull,push"
        wanted, given = f"repository:{repository}:{action}", headers["Authorization"] or ""
        self.seen.append(given)
        scope, left = self._good.get(given, ("", 0))
        if left and scope.startswith(wanted):
            self._good[given] = (scope, left - 1)
            return None
        challenge = (
            f'Bearer realm="{self.realm.format(host=self.host)}",service="registry of {self.host}",scope="{wanted}"'
        )
        return 401, b'{"errors": [{"message": "authentication required"}]}', {"WWW-Authenticate": challenge}


@contextmanager
def issuing(issuer: Issuer) -> Iterator[Issuer]:
    """It answers at an address of its own."""
    with serving(issuer.issue) as issuer.host:
        yield issuer
