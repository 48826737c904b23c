"""Copies an image to another registry, by digest: `modelops-replicate`.

What is there already isn't sent again, so an interrupted copy goes on where it stopped. Each blob streams from one
registry to the other; none is kept here. The manifest comes last: a reader that finds it finds everything.
Standard library only.
"""

import base64
import hashlib
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urljoin, urlsplit

from modelops_runtime.contract import ConfigurationError, ContractError, Environment, ReplicateContract

TIMEOUT_SECONDS = 60
FIRST_PAUSE_SECONDS = 0.5
MANIFEST_MAX_BYTES = 4 * 2**20
DOCKER_HUB = "docker.io"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = (
    *INDEXES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class NotReachable(Exception):
    """No usable answer; trying again may help."""


@dataclass(frozen=True)
class Login:
    """What Docker's configuration has for a registry."""

    basic: str = field(default="", repr=False)
    """User name and password in base64."""
    identity_token: str = field(default="", repr=False)
    """What the issuer exchanges for tokens by OAuth 2, instead of user name and password."""
    elsewhere: bool = False
    """Whether a program keeps the login, on the machine that wrote the configuration."""


@dataclass
class Repository:
    """A repository of an image registry."""

    reference: str
    """`registry.example.com/team/model`."""
    login: Login = Login()
    """The credentials of `docker login`."""
    _authorization: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        host, _, self.name = self.reference.partition("/")
        if not ("." in host or ":" in host or host == "localhost"):
            host, self.name = DOCKER_HUB, self.reference
        self.host = host
        if host == DOCKER_HUB:
            host, self.name = "registry-1.docker.io", self.name if "/" in self.name else f"library/{self.name}"
        scheme = "http" if re.fullmatch(r"(localhost|127\.[0-9.]+)(:[0-9]+)?", host) else "https"
        self._base = f"{scheme}://{host}/v2/{self.name}/"

    def has(self, path: str) -> bool:
        """Whether `blobs/<digest>` or `manifests/<digest>` is there."""
        try:
            with self.request("HEAD", path, Accept=", ".join(MANIFESTS)):
                return True
        except FileNotFoundError:
            return False

    @contextmanager
    def request(
        self, method: str, path: str, data: bytes | IO[bytes] | None = None, **headers: str
    ) -> Iterator[HTTPResponse]:
        """An answer of the registry. Raises FileNotFoundError for 404, NotReachable, or ConfigurationError."""
        try:
            with self._opened(method, path, data, headers) as response:
                yield response
        except urllib.error.HTTPError as error:
            what = f"{self.host} answered {method} {path.partition('?')[0]} with HTTP {error.code}: {_said(error)}"
            if error.code == 404:
                raise FileNotFoundError(what) from error
            if error.code in (408, 429) or error.code >= 500:
                raise NotReachable(what) from error
            if error.code in (401, 403):
                what += f" ({self._with_login()})"
            raise ConfigurationError(what) from error
        except (OSError, HTTPException) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise _unreachable(self.host, error) from error

    def _opened(
        self, method: str, path: str, data: Any, headers: dict[str, str], *, again: bool = True
    ) -> HTTPResponse:
        """Answers the registry's challenge once: a token may be missing, expired, or too narrow for this request."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(urljoin(self._base, path), data, names, method=method)
        # The login isn't for where a redirection leads, nor for another server that takes the uploads.
        own = urlsplit(request.full_url)[:2] == urlsplit(self._base)[:2]
        if self._authorization and own:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            if error.code != 401 or not (own and again) or (data is not None and not isinstance(data, bytes)):
                raise
            answer = self._answered(error.headers)
            if not answer:
                raise
            self._authorization = answer
        return self._opened(method, path, data, headers, again=False)

    def _answered(self, headers: Message) -> str:
        """The Authorization header that the registry asks for."""
        basic = f"Basic {self.login.basic}" if self.login.basic else ""
        asked = _bearer(headers)
        return basic if asked is None else f"Bearer {self._token(asked, basic)}"

    def _token(self, asked: Mapping[str, str], basic: str) -> str:
        """A token of the issuer that the registry names; it is given the login."""
        realm = asked.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise ConfigurationError(f"{self.host} asks for a token, and names no http:// or https:// address of one")
        issuer = urlsplit(realm).netloc.rpartition("@")[2]
        identity = self.login.identity_token
        if (basic or identity) and realm.startswith("http://") and self._base.startswith("https://"):
            raise ConfigurationError(f"{self.host} asks for a token of {issuer} without TLS: it is not sent the login")
        wanted = {key: asked[key] for key in ("service", "scope") if key in asked}
        if identity:
            form = {**wanted, "grant_type": "refresh_token", "refresh_token": identity, "client_id": "modelops"}
            request = urllib.request.Request(realm, urlencode(form).encode())
        else:
            query = f"{'&' if '?' in realm else '?'}{urlencode(wanted)}" if wanted else ""
            request = urllib.request.Request(realm + query)
            if basic:
                request.add_unredirected_header("Authorization", basic)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            what = f"{issuer} gives no token for {self.reference}: HTTP {error.code}: {_said(error)}"
            if error.code in (408, 429) or error.code >= 500:
                raise NotReachable(what) from error
            raise ConfigurationError(f"{what} ({self._with_login()})") from error
        except (OSError, HTTPException) as error:
            raise _unreachable(issuer, error) from error
        except ValueError as error:
            raise NotReachable(f"{issuer} doesn't answer in JSON when it is asked for a token") from error
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not token:
            raise ConfigurationError(f"{issuer} gives no token for {self.reference} ({self._with_login()})")
        return str(token)

    def _with_login(self) -> str:
        if self.login.elsewhere:
            return f"a credential helper has the login for {self.host}, and isn't here: put the login into the Secret"
        return f"{'without a login; there is none' if self.login == Login() else 'with the login'} for {self.host}"


def _bearer(headers: Message) -> dict[str, str] | None:
    """The parameters of the challenge that wants a token, None if there is no such one. The first of a name counts:
    behind it may be those of another challenge."""
    for challenge in headers.get_all("WWW-Authenticate") or []:
        if found := re.search(r"(?:^|,)\s*bearer\s+(.*)", challenge, re.IGNORECASE):
            pairs = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', found[1])
            return {name.lower(): quoted or bare for name, quoted, bare in reversed(pairs)}
    return None


def _unreachable(host: str, error: Exception) -> Exception:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        advice = "run this with an image that trusts its authority"
        return ConfigurationError(f"{host}: {reason.verify_message}: {advice}")
    return NotReachable(f"{host}: {reason}")


def _said(error: urllib.error.HTTPError) -> str:
    try:
        answer = json.loads(error.read())
        # Docker Hub's issuer has `details`.
        return str(answer.get("details") or "; ".join(str(each["message"]) for each in answer["errors"]))
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        return str(error.reason)


def replicate(source: Repository, target: Repository, digest: str, tag: str = "") -> int:
    """Copies the image, its platforms and their blobs; how many bytes were sent.

    With a `tag`, no clean-up of images without one removes it.
    """
    if target.has(f"manifests/{digest}"):
        return 0
    kind, content = _manifest(source, digest)
    parts = json.loads(content)
    sent = 0
    if kind in INDEXES:
        for each in parts["manifests"]:
            sent += replicate(source, target, each["digest"])
    else:
        for each in (parts["config"], *parts["layers"]):
            sent += _blob(source, target, str(each["digest"]), int(each["size"]))
    with target.request("PUT", f"manifests/{tag or digest}", content, Content_Type=kind):
        return sent + len(content)


def _manifest(source: Repository, digest: str) -> tuple[str, bytes]:
    with source.request("GET", f"manifests/{digest}", Accept=", ".join(MANIFESTS)) as response:
        content = response.read(MANIFEST_MAX_BYTES + 1)
        kind = response.headers.get_content_type()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ContractError(f"{source.reference}@{digest} is damaged: its manifest has another digest")
    return kind, content


def _blob(source: Repository, target: Repository, digest: str, size: int) -> int:
    """Sends a blob, unless it is there. The registry checks its digest."""
    if target.has(f"blobs/{digest}"):
        return 0
    same_registry = f"?{urlencode({'mount': digest, 'from': source.name})}" if source.host == target.host else ""
    with target.request("POST", f"blobs/uploads/{same_registry}", b"") as response:
        if response.status == 201:
            return 0
        place = response.headers["Location"]
    query = urlencode({"digest": digest})
    address = f"{place}{'&' if urlsplit(place).query else '?'}{query}"
    types = {"Content_Type": "application/octet-stream", "Content_Length": str(size)}
    with source.request("GET", f"blobs/{digest}") as content, target.request("PUT", address, content, **types):
        return size


def logins(folder: Path) -> dict[str, Login]:
    """By registry: the credentials in Docker's configuration, which Kubernetes' pull Secrets have too."""
    for name in ("config.json", ".dockerconfigjson"):
        if (folder / name).is_file():
            try:
                return _logins(json.loads((folder / name).read_bytes()))
            except (ValueError, AttributeError, TypeError) as error:
                raise ConfigurationError(f"{folder / name} has no logins: {error}") from error
    return {}


def _logins(config: dict[str, Any]) -> dict[str, Login]:
    kept = {_registry(server): Login(elsewhere=True) for server in config.get("credHelpers", {})}
    written = {_registry(server): _login(each, config) for server, each in config.get("auths", {}).items()}
    return kept | {server: login for server, login in written.items() if login != Login()}


def _registry(server: str) -> str:
    host = server.partition("://")[2].partition("/")[0] if "://" in server else server.partition("/")[0]
    return DOCKER_HUB if host == "index.docker.io" else host


def _login(entry: dict[str, str], config: dict[str, Any]) -> Login:
    """What an entry says; Docker leaves one empty whose login is in the store."""
    basic, identity = entry.get("auth", ""), entry.get("identitytoken", "")
    if not basic and entry.get("username"):
        basic = base64.b64encode(f"{entry['username']}:{entry.get('password', '')}".encode()).decode()
    return Login(basic, identity, elsewhere="credsStore" in config and not (basic or identity))


def main() -> None:
    env = Environment()
    settings = ReplicateContract.read(env)
    env.check()
    known, deadline, pause = (
        logins(settings.docker_config),
        time.monotonic() + settings.wait_seconds,
        FIRST_PAUSE_SECONDS,
    )
    name, _, digest = settings.source.partition("@")
    source, target = (Repository(each) for each in (name, settings.target))
    source.login, target.login = (known.get(each.host, Login()) for each in (source, target))
    while True:
        try:
            sent = replicate(source, target, digest, tag=digest.removeprefix("sha256:")[:12])
        except FileNotFoundError as error:
            raise ConfigurationError(str(error)) from error
        except NotReachable as error:
            if time.monotonic() + pause > deadline:
                raise ContractError(f"the copy of {settings.source} stopped: {error}") from error
            print(f"trying again: {error}", flush=True)
            time.sleep(pause)
            pause = min(2 * pause, 10)
        else:
            break
    print(f"{settings.target}@{digest} is there, {sent} bytes sent", flush=True)
