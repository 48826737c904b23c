"""The login to an image registry in plans: from where Docker's own clients take it, helper programs among them."""

import base64
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelops import ArgumentsError
from modelops.core.docker_logins import HelperFailed, Login, docker_login
from modelops.serving import resolve
from tests.tokens import Answer, Issuer, issuing, serving
from tests.unit.components.harness import pod
from tests.unit.components.service import ARGS, serve

DIGEST = f"sha256:{'ab' * 32}"
LOGIN = base64.b64encode(b"ann:pw").decode()
SECONDS = 5.0
# What docker/docker-credential-helpers' programs do: the server on standard input, a login in JSON.
_HELPER = """#!{python}
import json, pathlib, sys, time
assert sys.argv[1:] == ["get"]
server = sys.stdin.read()
with open({asked!r}, "a") as asked:
    print(server, file=asked)
{does}
"""


class Helpers:
    """Helper programs in PATH, and Docker's configuration."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._asked = folder, folder / "asked"
        (folder / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    def program(self, name: str, does: str) -> None:
        """The program `docker-credential-<name>`, which notes what it is asked and then does that."""
        path = self.folder / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_HELPER.format(python=sys.executable, asked=str(self._asked), does=does))
        path.chmod(0o755)

    def keeps(self, name: str, user: str, secret: str) -> None:
        answer = {"ServerURL": "", "Username": user, "Secret": secret}
        self.program(name, f"print(json.dumps({answer!r}))")

    def keeps_none(self, name: str) -> None:
        self.program(name, "print('credentials not found in native keychain'); sys.exit(1)")

    def configure(self, **config: Any) -> None:
        (self.folder / "config.json").write_text(json.dumps(config))

    @property
    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helpers:
    return Helpers(tmp_path, monkeypatch)


class Registry:
    """A registry whose tokens an issuer gives; it serves one tag."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.host = issuer, ""

    def answer(self, method: str, target: str, headers: Any, _body: bytes) -> Answer:
        refusal = self.issuer.refusal(method, target, headers)
        return refusal or (200, b"", {"Docker-Content-Digest": DIGEST})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing(Issuer(login=LOGIN)) as running:
        yield running


@pytest.fixture
def registry(issuer: Issuer) -> Iterator[Registry]:
    made = Registry(issuer)
    with serving(made.answer) as made.host:
        yield made


def planned(registry: Registry) -> str:
    """The image that a plan pins the registry's tag to."""
    deployment = serve({**ARGS, "model_uri": f"oci://{registry.host}/team/linear:v1"}).one("Deployment")
    [volume] = [each for each in pod(deployment)["volumes"] if each["name"] == "model"]
    return str(volume["image"]["reference"]).removeprefix(registry.host)


PINNED = f"/team/linear@{DIGEST}"


def refused(registry: Registry) -> str:
    with pytest.raises(ArgumentsError) as caught:
        planned(registry)
    return str(caught.value)


def test_a_store_of_logins_is_asked_for_the_registry_by_its_program(helpers: Helpers, registry: Registry) -> None:
    helpers.keeps("desktop", "ann", "pw")
    helpers.configure(credsStore="desktop", auths={registry.host: {}})
    assert planned(registry) == PINNED
    assert helpers.asked == [registry.host]
    assert [authorization for _, authorization in registry.issuer.asked] == [f"Basic {LOGIN}"]


def test_a_registry_s_own_helper_goes_before_the_store(helpers: Helpers, registry: Registry) -> None:
    helpers.keeps("ecr-login", "ann", "pw")
    helpers.program("desktop", "sys.exit('not me')")
    helpers.configure(credsStore="desktop", credHelpers={registry.host: "ecr-login", "other.example.com": "desktop"})
    assert planned(registry) == PINNED


@pytest.mark.parametrize("by_helper", [True, False])
def test_an_identity_token_is_exchanged_for_tokens_of_the_registry(
    helpers: Helpers, registry: Registry, *, by_helper: bool
) -> None:
    registry.issuer.identity_token = "identity"
    if by_helper:
        helpers.keeps("acr-env", "<token>", "identity")
        helpers.configure(credHelpers={registry.host: "acr-env"})
    else:  # As `az acr login` writes it.
        nobody = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
        helpers.configure(auths={registry.host: {"auth": nobody, "identitytoken": "identity"}})
    assert planned(registry) == PINNED
    [(form, authorization)] = registry.issuer.asked
    assert authorization is None
    assert form == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["identity"],
        "client_id": ["modelops"],
        "service": [f"registry of {registry.issuer.host}"],
        "scope": ["repository:team/linear:pull"],
    }


@pytest.mark.parametrize("kept", ["another", "", None])
def test_an_identity_token_that_is_not_taken_is_told_and_not_shown(
    helpers: Helpers, registry: Registry, kept: str | None
) -> None:
    """It has expired, or the issuer knows no such exchange, or no login at all."""
    registry.issuer.identity_token = kept or ""
    helpers.configure(auths={registry.host: {"identitytoken": "secret-token"}} if kept is not None else {})
    said = refused(registry)
    assert "wants other credentials than those in Docker's configuration" in said or "HTTP 404" in said
    assert "secret-token" not in said


def test_an_identity_token_is_not_sent_to_an_issuer_without_tls_for_a_registry_that_has_it() -> None:
    headers = resolve.Message()
    headers["WWW-Authenticate"] = 'Bearer realm="http://issuer.example.com/token"'
    with pytest.raises(resolve.Unresolved, match="a server without TLS, which is not sent the login"):
        resolve._answered(resolve._Client(), "r.example.com", headers, Login(identity_token="t"), secure=True)


def test_a_registry_whose_login_nobody_keeps_is_asked_without_one(helpers: Helpers, registry: Registry) -> None:
    registry.issuer.login = ""
    helpers.keeps_none("desktop")
    helpers.configure(credsStore="desktop")
    assert planned(registry) == PINNED
    assert [authorization for _, authorization in registry.issuer.asked] == [None]


def test_what_the_file_itself_has_counts_where_the_store_keeps_nothing(helpers: Helpers, registry: Registry) -> None:
    helpers.keeps_none("desktop")
    helpers.configure(credsStore="desktop", auths={registry.host: {"username": "ann", "password": "pw"}})
    assert planned(registry) == PINNED


def test_a_missing_helper_program_is_an_error_as_it_is_for_docker(helpers: Helpers, registry: Registry) -> None:
    helpers.configure(credsStore="nowhere")
    said = refused(registry)
    assert f"{registry.host} asks for a login: 'docker-credential-nowhere', which {helpers.folder}/config.json" in said
    assert "is no program in PATH: put it there, or log in without it" in said


def test_a_registry_that_asks_for_no_login_needs_no_helper(helpers: Helpers) -> None:
    helpers.configure(credsStore="nowhere")

    def answer(_method: str, _target: str, _headers: Any, _body: bytes) -> Answer:
        return 200, b"", {"Docker-Content-Digest": DIGEST}

    public = Registry(Issuer())
    with serving(answer) as public.host:
        assert planned(public) == PINNED


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("sys.exit('the keychain is locked')", "gives no login for HOST: the keychain is locked"),
        ("print('no such\\nuser'); sys.exit(3)", "gives no login for HOST: no such user"),
        ("sys.exit(3)", "gives no login for HOST: 3"),
        ("print('hunter2')", "doesn't answer with a user name and a secret in JSON"),
        ("print('[\"hunter2\"]')", "doesn't answer with a user name and a secret in JSON"),
        ('print(\'{"Secret": "hunter2"}\')', "doesn't answer with a user name and a secret in JSON"),
        ("sys.stdout.buffer.write(b'\\xff')", "can't be run, or does not answer in text"),
    ],
)
def test_a_helper_that_gives_no_login_is_told_by_its_own_words(
    helpers: Helpers, registry: Registry, does: str, reason: str
) -> None:
    helpers.program("broken", does)
    helpers.configure(credsStore="broken")
    said = refused(registry)
    assert f"docker-credential-broken {reason.replace('HOST', registry.host)}" in said
    assert "hunter2" not in said and "Traceback" not in said


def test_a_helper_that_takes_too_long_is_named(helpers: Helpers, registry: Registry) -> None:
    helpers.program("slow", "time.sleep(60)")
    helpers.configure(credsStore="slow")
    began = time.monotonic()
    assert f"docker-credential-slow gave no login for {registry.host} in time" in refused(registry)
    assert time.monotonic() - began < resolve.TIMEOUT_SECONDS + 2


@pytest.mark.parametrize("name", ["x/../../evil", "../evil", "/bin/evil", "a b", "evil;x", 7, ["evil"], {"a": "b"}])
def test_only_programs_in_path_are_run(helpers: Helpers, name: Any) -> None:
    (helpers.folder / "bin" / "docker-credential-x").mkdir()
    helpers.program("x/../../evil", "pass")
    helpers.configure(credsStore=name)
    with pytest.raises(HelperFailed, match="is no program in PATH"):
        docker_login("registry.example.com", SECONDS)
    assert helpers.asked == []


@pytest.mark.parametrize(
    ("config", "server"),
    [
        ({"credsStore": "all"}, "https://index.docker.io/v1/"),
        ({"credHelpers": {"https://index.docker.io/v1/": "all"}}, "https://index.docker.io/v1/"),
        ({"credHelpers": {"docker.io": "all"}}, "https://index.docker.io/v1/"),
    ],
)
def test_docker_hub_has_the_name_that_docker_gives_it(helpers: Helpers, config: Mapping[str, Any], server: str) -> None:
    helpers.keeps("all", "ann", "pw")
    helpers.configure(**config)
    assert docker_login("docker.io", SECONDS) == Login(f"Basic {LOGIN}")
    assert helpers.asked == [server]


@pytest.mark.parametrize(
    "config",
    [{}, {"credHelpers": {"registry.example.com": ""}, "credsStore": "all"}, {"credsStore": ""}, {"credHelpers": []}],
)
def test_there_may_be_no_helper_for_a_registry(helpers: Helpers, config: Mapping[str, Any]) -> None:
    """Docker takes an empty name for the file itself."""
    helpers.keeps("all", "ann", "pw")
    helpers.configure(**config, auths={"https://registry.example.com": {"auth": LOGIN}})
    assert docker_login("registry.example.com", SECONDS) == Login(f"Basic {LOGIN}")
    assert helpers.asked == []


def test_a_login_is_not_shown() -> None:
    assert "pw" not in repr(Login("Basic pw", "pw"))
