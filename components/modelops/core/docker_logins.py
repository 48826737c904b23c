"""The login to an image registry, from where Docker's own clients take it: Docker's configuration, or the program that
keeps logins for it (`docker-credential-<name>`). Standard library only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelops.core.credentials import basic

DOCKER_HUB = "docker.io"
_HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker calls its Hub."""
_TOKEN_USER = "<token>"
"""The user name with which a helper gives an identity token instead of a password."""
_NONE_KEPT = "credentials not found in native keychain"
"""What every helper says if it keeps no login."""
_LONGEST_MESSAGE = 200


class HelperFailed(Exception):
    """The program that keeps the login gives none; the message says why, and what to do."""


@dataclass(frozen=True)
class Login:
    """What a registry, or the issuer of its tokens, is given."""

    authorization: str = field(default="", repr=False)
    """An Authorization header with user name and password; empty without them."""
    identity_token: str = field(default="", repr=False)
    """What an issuer exchanges for tokens by OAuth 2, instead of user name and password."""


def docker_login(host: str, seconds: float) -> Login:
    """The login to `host`; an empty one if there is none. Raises HelperFailed, at the latest after so many seconds."""
    file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config = _mapping(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return Login()
    names = (host, f"https://{host}", *((_HUB_SERVER,) if host == DOCKER_HUB else ()))
    helper = _first(_mapping(config.get("credHelpers")), names, config.get("credsStore"))
    kept = _kept(file, helper, _HUB_SERVER if host == DOCKER_HUB else host, seconds) if helper else None
    return kept or _written(_mapping(_first(_mapping(config.get("auths")), names, {})))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(entries: Mapping[str, Any], names: Sequence[str], otherwise: Any) -> Any:
    return next((entries[name] for name in names if name in entries), otherwise)


def _written(entry: Mapping[str, Any]) -> Login:
    """A login that is in the file itself."""
    authorization = f"Basic {entry['auth']}" if entry.get("auth") else ""
    if not authorization and entry.get("username"):
        authorization = basic(str(entry["username"]), str(entry.get("password", "")))
    return Login(authorization, str(entry.get("identitytoken") or ""))


def _kept(file: Path, helper: Any, server: str, seconds: float) -> Login | None:
    """The login that a helper keeps, None if it keeps none for the server."""
    program = f"docker-credential-{helper}"
    # Docker looks it up in PATH alone.
    path = shutil.which(program) if re.fullmatch(r"[\w.+-]+", str(helper)) else None
    if path is None:
        advice = "put it there, or log in without it"
        raise HelperFailed(f"{program[:_LONGEST_MESSAGE]!r}, which {file} names, is no program in PATH: {advice}")
    try:
        done = subprocess.run([path, "get"], input=server, capture_output=True, text=True, timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired as error:
        raise HelperFailed(f"{program} gave no login for {server} in time") from error
    except (OSError, ValueError) as error:
        raise HelperFailed(f"{program} can't be run, or does not answer in text") from error
    if done.returncode:
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        if _NONE_KEPT in said:
            return None
        raise HelperFailed(f"{program} gives no login for {server}: {said[:_LONGEST_MESSAGE] or done.returncode}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, LookupError, TypeError) as error:  # Its text may have the password.
        raise HelperFailed(f"{program} doesn't answer with a user name and a secret in JSON") from error
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(basic(user, secret))
