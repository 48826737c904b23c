"""What a reference that can move stands for right now: asked of the registry that has it, from where the program runs.

Standard library only, and a few seconds at most: a plan waits for it.
"""

from __future__ import annotations

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException, InvalidURL
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode

from modelops.core.credentials import mlflow_authorization, without_login
from modelops.core.docker_logins import DOCKER_HUB, HelperFailed, Login, docker_login
from modelops.core.model_sources import Source
from modelops.core.per_run import per_run

TIMEOUT_SECONDS = 3.0
HUGGING_FACE = "https://huggingface.co"
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_LONGEST_MESSAGE = 200
_TOLD_SECONDS = 0.2
"""How much earlier a program that keeps logins is given up, so that its name is told."""
_DOCKER = "Docker's configuration"


class Unresolved(Exception):
    """Nobody says what the reference stands for; the message names who was asked, and what came of it."""


def resolved(source: Source, tracking_url: str) -> Source:
    """The fixed reference that `source` stands for now. Raises Unresolved."""
    known = per_run("answers")  # the next run asks again
    key = source.uri, tracking_url
    if key not in known:
        known[key] = _in_time(source, tracking_url)
    answer: Source | Unresolved = known[key]
    if isinstance(answer, Unresolved):
        raise Unresolved(*answer.args)
    return answer


def _in_time(source: Source, tracking_url: str) -> Source | Unresolved:
    """What came of the look-up. In a thread, since sockets' timeouts bound neither name lookups nor slow answers."""
    ask = _Client()
    answers: Queue[Source | Unresolved | BaseException] = Queue()

    def look_up() -> None:
        try:
            answers.put(_pinned(source, _look_up(ask, source, tracking_url)))
        except BaseException as error:
            answers.put(error)

    Thread(target=look_up, daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT_SECONDS)
    except Empty:
        return Unresolved(f"{ask.server} is not reachable from here: timed out")
    if isinstance(answer, Source | Unresolved):
        return answer
    raise answer


def _pinned(source: Source, found: str) -> Source:
    try:
        pinned = source.pinned(found)
    except ValueError:
        pinned = source
    if not pinned.fixed:
        raise Unresolved(f"the server answered {found[:_LONGEST_MESSAGE]!r}, which is no version, commit or digest")
    return pinned


def _look_up(ask: _Client, source: Source, tracking_url: str) -> str:
    if source.form == "hf":
        return _commit(ask, source)
    return _digest(ask, source) if source.form == "oci" else _number(ask, source, tracking_url)


class _Client:
    """Requests that share one deadline."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + TIMEOUT_SECONDS
        self.server = ""
        """The server that was asked last."""

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.1)

    def __call__(
        self,
        url: str,
        authorization: str = "",
        *,
        method: str = "GET",
        accept: str = "application/json",
        form: Mapping[str, str] | None = None,
    ) -> tuple[Message, bytes]:
        """Headers and body. A `form` is posted. Raises Unresolved, or HTTPError where credentials are asked for."""
        if not url.startswith(("http://", "https://")):
            raise Unresolved(f"{without_login(repr(url))} is no http:// or https:// address")
        self.server = without_login("/".join(url.split("/")[:3]))
        try:
            body = None if form is None else urlencode(form).encode()
            request = urllib.request.Request(url, body, {"Accept": accept}, method=method if body is None else "POST")
            if authorization:  # Not for where a redirection leads.
                request.add_unredirected_header("Authorization", authorization)
            with urllib.request.urlopen(request, timeout=self.left) as response:
                return response.headers, response.read()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise
            raise Unresolved(f"{self.server} answered: {_said(error)} (HTTP {error.code})") from error
        except OSError as error:
            raise Unresolved(f"{self.server} is not reachable from here: {getattr(error, 'reason', error)}") from error
        except (ValueError, InvalidURL) as error:  # Its text may have the credentials.
            what = "the address or the credentials aren't what HTTP allows"
            raise Unresolved(f"{self.server} can't be asked: {what}") from error
        except HTTPException as error:
            raise Unresolved(f"{self.server}'s answer isn't valid HTTP") from error

    def json(self, url: str, authorization: str, credentials: str, form: Mapping[str, str] | None = None) -> Any:
        """The answer's JSON; `credentials` says where those come from."""
        try:
            return json.loads(self(url, authorization, form=form)[1])
        except urllib.error.HTTPError as error:
            raise Unresolved(f"{self.server} wants other credentials than those in {credentials}") from error
        except ValueError as error:
            raise Unresolved(f"{self.server} doesn't answer in JSON") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The server's words, in one line of bearable length."""
    try:
        answer = json.loads(error.read())
        said = answer.get("message") or answer["error"]  # As MLflow has it, and Hugging Face.
    except (ValueError, LookupError, TypeError, AttributeError, OSError, HTTPException):
        said = error.reason
    return " ".join(str(said).split())[:_LONGEST_MESSAGE]


def _found(answer: Any, *path: str | int) -> str:
    try:
        for key in path:
            answer = answer[key]
    except (LookupError, TypeError):
        answer = None
    if not answer:
        raise Unresolved("there is no such version")
    return str(answer)


def _number(ask: _Client, source: Source, tracking_url: str) -> str:
    """The number of a registered model's version, with the credentials that MLflow's clients use."""
    authorization = mlflow_authorization()
    variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    api = f"{tracking_url.rstrip('/')}/api/2.0/mlflow"
    if source.version != "latest":
        query = urlencode({"name": source.name, "alias": source.version})
        answer = ask.json(f"{api}/registered-models/alias?{query}", authorization, variables)
        return _found(answer, "model_version", "version")
    newest = {"filter": f"name='{source.name}'", "order_by": "version_number DESC", "max_results": 1}
    answer = ask.json(f"{api}/model-versions/search?{urlencode(newest)}", authorization, variables)
    return _found(answer, "model_versions", 0, "version")


def _commit(ask: _Client, source: Source) -> str:
    """The commit of a branch or tag at Hugging Face."""
    server = os.environ.get("HF_ENDPOINT") or HUGGING_FACE
    token = os.environ.get("HF_TOKEN")
    url = f"{server.rstrip('/')}/api/models/{source.name}/revision/{quote(source.version, safe='')}"
    return _found(ask.json(url, f"Bearer {token}" if token else "", "HF_TOKEN"), "sha")


def _digest(ask: _Client, source: Source) -> str:
    """The digest of an image's tag, with the login of Docker's clients if the registry asks for one."""
    host, _, repository = source.place.partition("/")
    if not ("." in host or ":" in host or host == "localhost"):
        host, repository = DOCKER_HUB, source.place
    asked_for = host
    if host == DOCKER_HUB:
        host, repository = "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    scheme = "http" if re.fullmatch(r"(localhost|127\.[0-9.]+)(:[0-9]+)?", host) else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{source.version}"

    def head(authorization: str) -> str:
        headers, _ = ask(url, authorization, method="HEAD", accept=", ".join(_MANIFESTS))
        if not headers["Docker-Content-Digest"]:
            raise Unresolved(f"{host} doesn't tell the image's digest")
        return str(headers["Docker-Content-Digest"])

    try:
        try:
            return head("")
        except urllib.error.HTTPError as error:
            login = _login(ask, asked_for)
            return head(_answered(ask, host, error.headers, login, secure=scheme == "https"))
    except urllib.error.HTTPError as error:
        raise Unresolved(f"{host} wants other credentials than those in {_DOCKER}") from error


def _login(ask: _Client, host: str) -> Login:
    try:
        return docker_login(host, ask.left - _TOLD_SECONDS)
    except HelperFailed as error:
        raise Unresolved(f"{host} asks for a login: {error}") from error


def _answered(ask: _Client, host: str, headers: Message, login: Login, *, secure: bool) -> str:
    """The Authorization header for the challenge of the registry `host`, with a token if it takes one."""
    asked = _bearer(headers)
    if asked is None:
        return login.authorization
    wanted: dict[str, str] = {key: asked[key] for key in ("service", "scope") if key in asked}
    realm, query, identity = asked.get("realm", ""), urlencode(wanted), login.identity_token
    if login != Login() and secure and realm.startswith("http://"):
        raise Unresolved(f"{host} asks for a token of a server without TLS, which is not sent the login")
    if identity:
        form = {**wanted, "grant_type": "refresh_token", "refresh_token": identity, "client_id": "modelops"}
        answer = ask.json(realm, "", _DOCKER, form)
    else:
        url = f"{realm}{'&' if '?' in realm else '?'}{query}" if query else realm
        answer = ask.json(url, login.authorization, _DOCKER)
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not token:
        raise Unresolved(f"{ask.server} gives no token")
    return f"Bearer {token}"


def _bearer(headers: Message) -> dict[str, str] | None:
    """The parameters of the challenge that wants a token, None if there is no such one. The first of a name counts:
    behind it may be those of another challenge."""
    for challenge in headers.get_all("WWW-Authenticate") or []:
        if found := re.search(r"(?:^|,)\s*bearer\s+(.*)", challenge, re.IGNORECASE):
            pairs = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', found[1])
            return {name.lower(): quoted or bare for name, quoted, bare in reversed(pairs)}
    return None
