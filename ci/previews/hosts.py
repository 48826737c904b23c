"""Writes one comment, or one issue, through the host's HTTP API, and finds it again on the next run."""

import json
import re
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
"""How often to try a request while the host is busy or out of reach."""
MAX_WAIT_SECONDS = 60
_PAGE = 100
_MAX_PAGES = 50


class HostError(Exception):
    """The host refused; the message says what and what to do, and never contains the token."""


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
    """`owner/name`, or a GitLab project's ID or path."""
    token: str = field(repr=False)
    author: str | None = None
    """Only this author's comments count: anybody could write the marker into one. Default: whoever owns the token."""

    def comment(self, number: int, marker: str, body: str) -> str:
        """Updates the tool's comment on a pull request, or creates it: `created`, `updated` or `unchanged`."""
        if self.kind == "github":
            listing, parent = f"{self._base}/issues/{number}/comments", f"{self._base}/issues/comments"
        else:
            listing = parent = f"{self._base}/merge_requests/{number}/notes"
        existing = self._find_own(listing, marker)
        if existing is None:
            self._request("POST", listing, {"body": body})
            return "created"
        if existing["body"].strip() == body.strip():
            return "unchanged"
        self._request("PATCH" if self.kind == "github" else "PUT", f"{parent}/{existing['id']}", {"body": body})
        return "updated"

    def report(self, title: str, marker: str, body: str, *, open_: bool) -> str:
        """Keeps one issue: opened or updated while there is something to report, closed when there is not."""
        text = "body" if self.kind == "github" else "description"
        state = "open" if self.kind == "github" else "opened"
        existing = self._find_own(f"{self._base}/issues", marker, text=text, query={"state": state})
        if existing is None:
            if not open_:
                return "nothing to report"
            self._request("POST", f"{self._base}/issues", {"title": title, text: body})
            return "opened"
        number = existing["number"] if self.kind == "github" else existing["iid"]
        change: dict[str, str] = {text: body}
        if not open_:
            change.update({"state": "closed"} if self.kind == "github" else {"state_event": "close"})
        elif (existing[text] or "").strip() == body.strip():
            return "unchanged"
        self._request("PATCH" if self.kind == "github" else "PUT", f"{self._base}/issues/{number}", change)
        return "updated" if open_ else "closed"

    @property
    def _base(self) -> str:
        if self.kind == "github":
            return f"/repos/{urllib.parse.quote(self.project)}"
        return f"/projects/{urllib.parse.quote(self.project, safe='')}"

    def _find_own(
        self, path: str, marker: str, *, text: str = "body", query: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The oldest entry that the tool itself wrote."""
        author = self.author or self._owner()
        matches = []
        for entry in self._pages(path, query or {}):
            user = entry.get("user") or entry.get("author") or {}
            name = user.get("login") or user.get("username")
            # GitHub lists pull requests among the issues.
            if name == author and str(entry.get(text) or "").startswith(marker) and "pull_request" not in entry:
                matches.append(entry)
        return min(matches, key=lambda entry: int(entry["id"]), default=None)

    def _owner(self) -> str:
        """Who owns the token. GitHub's GraphQL answers for every kind of token; `GET /user` refuses those of apps."""
        if self.kind == "gitlab":
            answer, path = self._request("GET", "/user")[0], ["username"]
        else:
            api = re.sub(r"/api/v3/?$", "/api", self.api)  # GitHub Enterprise Server
            answer = self._request("POST", "/graphql", {"query": "{ viewer { login } }"}, api=api)[0]
            path = ["data", "viewer", "login"]
        for key in path:
            answer = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(answer, str):
            raise HostError("the host doesn't say who owns the token; name the account with --author")
        return answer

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        for page in range(1, _MAX_PAGES + 1):
            parameters = urllib.parse.urlencode({**query, "per_page": _PAGE, "page": page})
            entries, _ = self._request("GET", f"{path}?{parameters}")
            if not isinstance(entries, list):
                raise HostError(f"GET {path}: the host did not return a list")
            yield from entries
            if len(entries) < _PAGE:
                return
        raise HostError(f"GET {path}: more than {_MAX_PAGES} pages")

    def _request(
        self, method: str, path: str, body: dict[str, str] | None = None, *, api: str | None = None
    ) -> tuple[Any, HTTPMessage]:
        request = urllib.request.Request(
            (api or self.api).rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "preview-comment"},
            method=method,
        )
        if self.kind == "github":
            request.add_header("Authorization", f"Bearer {self.token}")
        else:
            request.add_header("PRIVATE-TOKEN", self.token)
        # A POST without a response may have succeeded: a second one could create a second comment.
        repeatable = method != "POST" or path == "/graphql"
        opener = urllib.request.build_opener(_NoRedirects)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                    return json.load(answer), answer.headers
            except urllib.error.HTTPError as error:
                wait = _wait(error, repeatable, attempt)
                if wait is None:
                    raise HostError(self._explain(method, path, error)) from None
            except ValueError as error:
                raise HostError(f"{method} {path}: the response is not JSON ({error})") from None
            except OSError as error:
                if attempt == ATTEMPTS or not repeatable:
                    raise HostError(f"{method} {path}: {self.api} is out of reach ({error})") from None
                wait = attempt
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, method: str, path: str, error: urllib.error.HTTPError) -> str:
        hints = {
            401: "the token is not valid",
            403: "the token may not do this: GitHub requires `pull-requests: write` (`issues: write` for a report), "
            "GitLab a token with the scope `api`",
            404: "no such project or number, or the token may not see it",
            413: "the comment is too long for this host, use a smaller --limit",
            422: "the host refused the text",
        }
        if 300 <= error.code < 400:
            hint = "the host redirects, set --api to its real URL"
        else:
            hint = hints.get(error.code, "the host failed")
        return f"{method} {path}: {error.code} {error.reason}: {hint}"


def _wait(error: urllib.error.HTTPError, repeatable: bool, attempt: int) -> float | None:
    """Seconds until the next attempt; None if there is no point in one."""
    exhausted = error.headers.get("X-RateLimit-Remaining") == "0"
    limited = error.code == 429 or (error.code == 403 and (exhausted or "Retry-After" in error.headers))
    if attempt == ATTEMPTS or not (limited or (error.code >= 500 and repeatable)):
        return None
    retry_after, reset = error.headers.get("Retry-After", ""), error.headers.get("X-RateLimit-Reset", "")
    if retry_after.isdigit():
        return min(float(retry_after), MAX_WAIT_SECONDS)
    if limited and reset.isdigit():
        return min(max(float(reset) - time.time(), float(attempt)), MAX_WAIT_SECONDS)
    return float(attempt)
