"""Copying images between registries that misbehave. (A real one: tests/cluster/models.)"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.registry.replicate import Login, Repository, logins
from tests.runtime import run_module
from tests.tokens import Issuer, issuing, serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class FakeRegistry:
    """Keeps blobs and manifests by digest or tag, in whatever repository."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Codes with which the next uploads fail."""
    issuer: Issuer | None = None
    """Gives the tokens that it wants."""
    uploads_at: str = ""
    """Address of another server that takes the blobs."""
    empty: str = ""
    """The repositories below this path have nothing, whatever else is here."""
    host: str = ""

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.asked.append((method, path))
        if self.issuer and path != "/upload" and (refusal := self.issuer.refusal(method, path, headers)):
            return refusal
        name = path.rpartition("/")[2]
        if method == "POST":
            known = query.get("mount", [""])[0] in self.blobs
            return (201, b"", {}) if known else (202, b"", {"Location": f"{self.uploads_at}/upload?state=1"})
        if method == "PUT":
            return self._put(path, name, query, headers, body)
        if self.empty and path.startswith(self.empty):
            return 404, b"", {}
        if "/manifests/" in path and name in self.manifests:
            kind, content = self.manifests[name]
            return 200, content, {"Content-Type": kind}
        if "/blobs/" in path and name in self.blobs:
            return 200, self.blobs[name], {}
        return 404, b"", {}

    def _put(
        self, path: str, name: str, query: dict[str, list[str]], headers: Any, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if path != "/upload":
            for key in (name, digest_of(body)):
                self.manifests[key] = (headers["Content-Type"], body)
            return 201, b"", {}
        if self.failures:
            return self.failures.pop(0), b'{"errors": [{"message": "no room"}]}', {}
        if query["digest"] != [digest_of(body)]:
            return 400, b'{"errors": [{"message": "another digest"}]}', {}
        self.blobs[query["digest"][0]] = body
        return 201, b"", {}

    def add(self, *layers: bytes) -> str:
        """An image; its digest."""
        parts = [{"digest": digest_of(layer), "size": len(layer)} for layer in (b"{}", *layers)]
        self.blobs |= {digest_of(layer): layer for layer in (b"{}", *layers)}
        return self.add_manifest(MANIFEST, {"config": parts[0], "layers": parts[1:]})

    def add_manifest(self, kind: str, content: Any) -> str:
        encoded = json.dumps({"mediaType": kind, **content}).encode()
        self.manifests[digest_of(encoded)] = (kind, encoded)
        return digest_of(encoded)

    def uploads(self) -> int:
        return self.asked.count(("PUT", "/upload"))


@contextmanager
def running(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    with serving(fake.answer) as fake.host:
        yield fake


@pytest.fixture
def pair() -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with ExitStack() as stack:
        yield stack.enter_context(running(FakeRegistry())), stack.enter_context(running(FakeRegistry()))


def copy(source: FakeRegistry, target: FakeRegistry, digest: str, **variables: object) -> Any:
    return run_module(
        "modelops_runtime replicate",
        MODELOPS_SOURCE_IMAGE=f"{source.host}/team/model@{digest}",
        MODELOPS_TARGET_REPOSITORY=f"{target.host}/prod/model",
        **{"MODELOPS_REGISTRY_WAIT_SECONDS": 0, "DOCKER_CONFIG": "/nowhere", **variables},
    )


def test_an_image_is_the_same_to_the_byte_and_has_a_tag(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"weights" * 200_000, b"manifest")
    done = copy(source, target, digest)
    assert done.returncode == 0, done.stderr
    assert target.blobs == source.blobs
    assert target.manifests == dict.fromkeys((digest, digest[7:19]), source.manifests[digest])
    assert done.stdout.startswith(f"{target.host}/prod/model@{digest} is there, ")


def test_an_image_of_several_platforms_is_copied_with_all_of_them(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    images = [source.add(b"one"), source.add(b"two")]
    index = source.add_manifest(INDEX, {"manifests": [{"digest": digest} for digest in images]})
    assert copy(source, target, index).returncode == 0
    assert target.manifests.keys() == {*images, index, index[7:19]}
    assert target.blobs == source.blobs


def test_what_is_there_is_not_sent_again(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one", b"two")
    target.blobs[digest_of(b"one")] = b"one"
    assert copy(source, target, digest).returncode == 0
    assert target.uploads() == 2
    again = copy(source, target, digest)
    assert again.returncode == 0 and "0 bytes sent" in again.stdout
    assert target.uploads() == 2


def test_a_copy_goes_on_after_a_failure(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one", b"two")
    target.failures = [503]
    done = copy(source, target, digest, MODELOPS_REGISTRY_WAIT_SECONDS=30)
    assert done.returncode == 0, done.stderr
    assert "trying again: " in done.stdout and "HTTP 503: no room" in done.stdout
    assert target.blobs == source.blobs


@pytest.mark.parametrize(("code", "exit_code"), [(503, 1), (403, 2)])
def test_a_copy_that_fails_leaves_no_manifest(
    pair: tuple[FakeRegistry, FakeRegistry], code: int, exit_code: int
) -> None:
    source, target = pair
    target.failures = [code]
    done = copy(source, target, source.add(b"one"))
    assert done.returncode == exit_code
    assert f"HTTP {code}: no room" in done.stderr
    assert target.manifests == {}


def test_within_one_registry_nothing_is_sent(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, _ = pair
    source.empty = "/v2/prod/"
    done = copy(source, source, source.add(b"one"))
    assert done.returncode == 0, done.stderr
    assert source.uploads() == 0
    assert [path for method, path in source.asked if method == "POST"] == 2 * ["/v2/prod/model/blobs/uploads/"]


def test_logins_are_used_and_sent_to_their_own_registry_alone(
    pair: tuple[FakeRegistry, FakeRegistry], tmp_path: Path
) -> None:
    source, target = pair
    reader, writer = (base64.b64encode(f"{name}:pw".encode()).decode() for name in ("reader", "writer"))
    with issuing(Issuer(reader)) as source.issuer, issuing(Issuer(writer)) as target.issuer:
        digest = source.add(b"one")
        refused = copy(source, target, digest)
        assert refused.returncode == 2 and f"without a login; there is none for {target.host}" in refused.stderr
        said = f"gives no token for {target.host}/prod/model: HTTP 401: incorrect username or password"
        assert f"{target.issuer.host} {said}" in refused.stderr
        auths = {source.host: {"username": "reader", "password": "pw"}, f"http://{target.host}/v1/": {"auth": writer}}
        (tmp_path / ".dockerconfigjson").write_text(json.dumps({"auths": auths}))
        done = copy(source, target, digest, DOCKER_CONFIG=tmp_path)
        assert done.returncode == 0, done.stderr
        assert target.blobs == source.blobs
        assert "pw" not in done.stdout + done.stderr
        given = {each for _, each in target.issuer.asked if each}
        assert given == {f"Basic {writer}"}, "the login goes to the issuer that the registry names"
        assert not [header for header in target.issuer.seen if header.startswith("Basic")], "and not to the registry"


def test_an_identity_token_is_exchanged_for_tokens_to_pull_and_to_push(
    pair: tuple[FakeRegistry, FakeRegistry], tmp_path: Path
) -> None:
    """As `az acr login` leaves it, with a user name that nobody has."""
    source, target = pair
    issuer = Issuer("nobody's", identity_token="identity")
    with issuing(Issuer()) as source.issuer, issuing(issuer) as target.issuer:
        digest = source.add(b"one")
        nobody = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
        for token, code in (("stale-token", 2), ("identity", 0)):
            auths = {target.host: {"auth": nobody, "identitytoken": token}}
            (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
            done = copy(source, target, digest, DOCKER_CONFIG=tmp_path)
            assert done.returncode == code, done.stderr
            said = "" if code == 0 else "HTTP 401: the token has expired (with the login for"
            assert said in done.stderr and token not in done.stdout + done.stderr
        assert target.blobs == source.blobs
        assert {authorization for _, authorization in issuer.asked} == {None}
        form, _ = issuer.asked[-1]
        assert (form["grant_type"], form["refresh_token"], form["client_id"]) == (
            ["refresh_token"], ["identity"], ["modelops"]
        )  # fmt: skip


@pytest.mark.parametrize("helper", ["credsStore", "credHelpers"])
def test_a_secret_that_leaves_a_login_to_a_helper_is_told(
    pair: tuple[FakeRegistry, FakeRegistry], tmp_path: Path, helper: str
) -> None:
    """Made of a developer's own configuration, whose login is in the system's keychain."""
    source, target = pair
    with issuing(Issuer("someone's")) as target.issuer:
        digest = source.add(b"one")
        kept: Any = "desktop" if helper == "credsStore" else {target.host: "desktop"}
        (tmp_path / "config.json").write_text(json.dumps({helper: kept, "auths": {target.host: {}}}))
        done = copy(source, target, digest, DOCKER_CONFIG=tmp_path)
    assert done.returncode == 2
    assert f"a credential helper has the login for {target.host}, and isn't here" in done.stderr


def test_anybody_may_have_tokens_of_a_public_registry(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    with issuing(Issuer()) as source.issuer:
        done = copy(source, target, source.add(b"one"))
    assert done.returncode == 0, done.stderr
    [(query, authorization)] = source.issuer.asked
    assert authorization is None
    assert query == {"service": [f"registry of {source.issuer.host}"], "scope": ["repository:team/model:pull"]}


def test_a_token_that_is_too_narrow_or_has_expired_is_followed_by_another_one(
    pair: tuple[FakeRegistry, FakeRegistry],
) -> None:
    source, target = pair
    with issuing(Issuer(uses=2)) as source.issuer, issuing(Issuer(uses=3)) as target.issuer:
        done = copy(source, target, source.add(b"one", b"two", b"three"))
        assert done.returncode == 0, done.stderr
        assert target.blobs == source.blobs
        scopes = [query["scope"][0] for query, _ in target.issuer.asked]
        assert scopes[:2] == ["repository:prod/model:pull", "repository:prod/model:pull,push"]
        assert len(source.issuer.asked) > 1 and len(scopes) > 2


def test_a_registry_that_takes_none_of_the_tokens_is_not_asked_for_ever(
    pair: tuple[FakeRegistry, FakeRegistry],
) -> None:
    source, target = pair
    with issuing(Issuer(pulls_only=True)) as target.issuer:
        done = copy(source, target, source.add(b"one"))
        assert done.returncode == 2 and "HTTP 401: authentication required" in done.stderr
        assert len(target.issuer.asked) == 2, "one to look, one to push"


@pytest.mark.parametrize(
    ("realm", "exit_code", "said"),
    [
        ("http://{host}/token?account=a", 0, ""),
        ("file:///etc/hostname", 2, "names no http:// or https:// address of one"),
        ("", 2, "names no http:// or https:// address of one"),
        ("http://127.0.0.1:9/token", 1, "127.0.0.1:9: [Errno 111] Connection refused"),
    ],
)
def test_the_issuer_is_where_the_registry_says_and_told_if_that_is_nowhere(
    pair: tuple[FakeRegistry, FakeRegistry], realm: str, exit_code: int, said: str
) -> None:
    source, target = pair
    with issuing(Issuer(realm=realm)) as source.issuer:
        done = copy(source, target, source.add(b"one"))
    assert done.returncode == exit_code and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "exit_code", "said"),
    [
        ((200, b"<html>", {}), 1, "doesn't answer in JSON when it is asked for a token"),
        ((200, b"{}", {}), 2, "gives no token for"),
        ((200, b"[]", {}), 2, "gives no token for"),
        ((503, b"", {}), 1, "gives no token for"),
        ((403, b'{"errors": [{"message": "denied"}]}', {}), 2, "HTTP 403: denied (without a login"),
    ],
)
def test_an_issuer_that_gives_no_token_is_named(
    pair: tuple[FakeRegistry, FakeRegistry], answer: Any, exit_code: int, said: str
) -> None:
    source, target = pair
    with serving(lambda *_: answer) as host:
        source.issuer = Issuer(host=host)
        done = copy(source, target, source.add(b"one"))
    assert done.returncode == exit_code and said in done.stderr and f"{host} " in done.stderr
    assert "Traceback" not in done.stderr


def test_another_server_that_takes_the_uploads_gets_neither_token_nor_login(
    pair: tuple[FakeRegistry, FakeRegistry],
) -> None:
    source, target = pair
    got: list[str | None] = []

    def take(method: str, path: str, headers: Any, body: bytes) -> Any:
        got.append(headers["Authorization"])
        return target.answer(method, path, headers, body)

    with issuing(Issuer()) as target.issuer, serving(take) as elsewhere:
        target.uploads_at = f"http://{elsewhere}"
        done = copy(source, target, source.add(b"one"))
    assert done.returncode == 0, done.stderr
    assert target.blobs == source.blobs and set(got) == {None}


def challenge(*values: str) -> Message:
    headers = Message()
    for value in values:
        headers["WWW-Authenticate"] = value
    return headers


@pytest.mark.parametrize(
    "challenges",
    [
        ('bearer Realm="http://{0}/token",SERVICE="registry",scope="repository:x:pull,push"',),
        ('Bearer service=registry, scope="repository:x:pull,push" , realm = "http://{0}/token"',),
        ('Basic realm="x"', 'Bearer realm="http://{0}/token",service="registry",scope="repository:x:pull,push"'),
        ('Basic realm="x", Bearer realm="http://{0}/token",service=registry,scope="repository:x:pull,push"',),
        ('Bearer realm="http://{0}/token",service=registry,scope="repository:x:pull,push", Basic realm="x"',),
    ],
)
def test_a_challenge_is_understood_in_every_spelling_of_http(challenges: tuple[str, ...]) -> None:
    with issuing(Issuer()) as issuer:
        repository = Repository("127.0.0.1:5000/x")
        assert repository._answered(challenge(*(each.format(issuer.host) for each in challenges))) == "Bearer token-1"
    [(query, _)] = issuer.asked
    assert query == {"service": ["registry"], "scope": ["repository:x:pull,push"]}


def test_a_login_is_not_sent_to_an_issuer_without_tls_for_a_registry_that_has_it() -> None:
    asked = challenge('Bearer realm="http://issuer.example.com/token"')
    with pytest.raises(
        ConfigurationError, match=r"a token of issuer\.example\.com without TLS: it is not sent the login"
    ):
        Repository("registry.example.com/x", login=Login("eDp5"))._answered(asked)


def test_an_image_that_is_not_there(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    done = copy(*pair, f"sha256:{'0' * 64}")
    assert done.returncode == 2 and "HTTP 404" in done.stderr


def test_a_damaged_manifest_is_not_copied(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one")
    source.manifests[digest] = (MANIFEST, source.manifests[digest][1] + b" ")
    done = copy(source, target, digest)
    assert done.returncode == 1 and "its manifest has another digest" in done.stderr
    assert target.manifests == {}


def test_a_damaged_layer_is_not_copied(pair: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = pair
    digest = source.add(b"one")
    source.blobs[digest_of(b"one")] = b"two"
    done = copy(source, target, digest)
    assert done.returncode == 2 and "another digest" in done.stderr
    assert target.manifests == {}


def test_the_program_names_every_wrong_variable() -> None:
    done = run_module("modelops_runtime replicate", MODELOPS_SOURCE_IMAGE="team/model:1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: MODELOPS_SOURCE_IMAGE is 'team/model:1', must be an image by digest",
        "error: MODELOPS_TARGET_REPOSITORY is not set",
    ]


def test_docker_hub_is_known_by_each_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "eA=="}}}')
    assert logins(tmp_path) == {"docker.io": Login("eA==")}
    for content in ("[]", '{"auths": {"a.example.com": null}}', '{"auths": 7}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ConfigurationError, match="has no logins"):
            logins(tmp_path)
    done = run_module(
        "modelops_runtime replicate",
        MODELOPS_SOURCE_IMAGE=f"localhost/team/model@sha256:{'0' * 64}",
        MODELOPS_TARGET_REPOSITORY="localhost/prod/model",
        DOCKER_CONFIG=tmp_path,
    )
    assert done.returncode == 2 and "has no logins" in done.stderr
