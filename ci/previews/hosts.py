"""Writes one comment, or one issue, through the host's HTTP API, and finds it again the next time."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from typing import IO, Any

TIMEOUT_SECONDS = 30
ATTEMPTS = 3
"""How often a request is tried while the host is busy or out of reach."""
MAX_WAIT_SECONDS = 60
_PAGE = 100
_MAX_PAGES = 50


class HostError(Exception):
    """The host refused; the message says what and what to do, and never has the token."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would hand the token to wherever it points."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


@dataclass(frozen=True)
class Host:
    """One project on GitHub or GitLab."""

    kind: str
    """`github` or `gitlab`."""
    api: str
    """`https://api.github.com`, or `https://gitlab.example.com/api/v4`."""
    project: str
    """`owner/name`, or GitLab's number or path."""
    token: str = field(repr=False)
    author: str | None = None
    """Whose comments are looked at: anybody could write the marker into one. GitLab's is asked from the host."""

    def comment(self, number: int, marker: str, body: str) -> str:
        """Updates the tool's comment on a pull request, or makes it: `created`, `updated` or `unchanged`."""
        if self.kind == "github":
            listing, parent = f"{self._base}/issues/{number}/comments", f"{self._base}/issues/comments"
        else:
            listing = parent = f"{self._base}/merge_requests/{number}/notes"
        own = self._own(listing, marker)
        if own is None:
            self._request("POST", listing, {"body": body})
            return "created"
        if own["body"].strip() == body.strip():
            return "unchanged"
        self._request("PATCH" if self.kind == "github" else "PUT", f"{parent}/{own['id']}", {"body": body})
        return "updated"

    def report(self, title: str, marker: str, body: str, *, open_: bool) -> str:
        """Keeps one issue: opened or updated while there is something to say, closed when there is not."""
        text = "body" if self.kind == "github" else "description"
        state = "open" if self.kind == "github" else "opened"
        own = self._own(f"{self._base}/issues", marker, text=text, query={"state": state})
        if own is None:
            if not open_:
                return "nothing to report"
            self._request("POST", f"{self._base}/issues", {"title": title, text: body})
            return "opened"
        identity = own["number"] if self.kind == "github" else own["iid"]
        change: dict[str, str] = {text: body}
        if not open_:
            change.update({"state": "closed"} if self.kind == "github" else {"state_event": "close"})
        elif (own[text] or "").strip() == body.strip():
            return "unchanged"
        self._request("PATCH" if self.kind == "github" else "PUT", f"{self._base}/issues/{identity}", change)
        return "updated" if open_ else "closed"

    @property
    def _base(self) -> str:
        if self.kind == "github":
            return f"/repos/{urllib.parse.quote(self.project)}"
        return f"/projects/{urllib.parse.quote(self.project, safe='')}"

    def _own(
        self, path: str, marker: str, *, text: str = "body", query: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The oldest one that the tool wrote itself."""
        author = self.author
        if author is None and self.kind == "gitlab":
            author = self._request("GET", "/user")[0]["username"]
        found = []
        for entry in self._pages(path, query or {}):
            who = entry.get("user") or entry.get("author") or {}
            name = who.get("login") or who.get("username")
            if str(entry.get(text) or "").startswith(marker) and author in (None, name):
                found.append(entry)
        return min(found, key=lambda entry: int(entry["id"]), default=None)

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        for page in range(1, _MAX_PAGES + 1):
            asked = urllib.parse.urlencode({**query, "per_page": _PAGE, "page": page})
            entries, _ = self._request("GET", f"{path}?{asked}")
            if not isinstance(entries, list):
                raise HostError(f"GET {path}: the host answered with no list")
            yield from entries
            if len(entries) < _PAGE:
                return
        raise HostError(f"GET {path}: more than {_MAX_PAGES} pages")

    def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[Any, HTTPMessage]:
        request = urllib.request.Request(
            self.api.rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "preview-comment"},
            method=method,
        )
        if self.kind == "github":
            request.add_header("Authorization", f"Bearer {self.token}")
        else:
            request.add_header("PRIVATE-TOKEN", self.token)
        opener = urllib.request.build_opener(_NoRedirects)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                    return json.load(answer), answer.headers
            except urllib.error.HTTPError as error:
                wait = _wait(error, method, attempt)
                if wait is None:
                    raise HostError(self._explain(method, path, error)) from None
            except ValueError as error:
                raise HostError(f"{method} {path}: the answer is not JSON ({error})") from None
            except OSError as error:
                # A POST that got lost may have been taken: a second one could be a second comment.
                if attempt == ATTEMPTS or method == "POST":
                    raise HostError(f"{method} {path}: {self.api} is out of reach ({error})") from None
                wait = attempt
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, method: str, path: str, error: urllib.error.HTTPError) -> str:
        hints = {
            401: "the token is not valid there",
            403: "the token may not do this: GitHub wants `pull-requests: write` (`issues: write` for a report), "
            "GitLab a token with the scope `api`",
            404: "no such project or number, or the token may not see it",
            413: "the comment is too long for this host, give a smaller --limit",
            422: "the host refused the text",
        }
        if 300 <= error.code < 400:
            hint = "the host redirects, give --api its real address"
        else:
            hint = hints.get(error.code, "the host failed")
        return f"{method} {path}: {error.code} {error.reason}: {hint}"


def _wait(error: urllib.error.HTTPError, method: str, attempt: int) -> float | None:
    """Seconds until the next attempt; None where another one makes no sense."""
    limited = error.code == 429 or (error.code == 403 and error.headers.get("Retry-After") is not None)
    if attempt == ATTEMPTS or not (limited or (error.code >= 500 and method != "POST")):
        return None
    given = error.headers.get("Retry-After", "")
    return min(float(given), MAX_WAIT_SECONDS) if given.isdigit() else float(attempt)
