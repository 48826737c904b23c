"""Where the states of stacks are, and what encrypts them.

A stack on the embedded cluster ends with it, and so does its state. The state of any other stack outlives `down`, and
so does a user's own back end. Its passphrase is the user's, or one that is generated here; never the public one.
"""

import hashlib
import json
import os
import re
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devkit.clusters import Cluster, Embedded, deployed_stacks
from devkit.errors import DevkitError
from devkit.paths import REPOSITORY, pulumi_home, stacks_root, state_backend, state_root

PUBLIC_PASSPHRASE = "modelops-local"
"""Encrypts what ends with the embedded cluster, where file permissions are the real protection."""
_PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"
_PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"
_CREDENTIALS = "PULUMI_CREDENTIALS_PATH"
_PULUMI_CLOUD = "https://api.pulumi.com"


@dataclass(frozen=True)
class BackEnd:
    """A state back end, as Pulumi names it."""

    url: str
    login: Path | None = None
    """The folder of the user's Pulumi credentials, for a back end that is the user's."""
    ends_with_cluster: bool = False
    """Whether `down` removes it."""

    @property
    def folder(self) -> Path | None:
        """Our own folder with the states; None for a back end of the user's."""
        return None if self.login else Path(self.url.removeprefix("file://"))

    def description(self) -> str:
        """Where the states are, how long they stay and what encrypts them, in a few words."""
        if self.ends_with_cluster:
            return f"{self.folder}, removed with the cluster"
        passphrase = "your own passphrase" if _users_passphrase() else f"the passphrase in {passphrase_file()}"
        return f"{self.url}, kept by `make down`; {passphrase} encrypts them, so keep both"

    def variables(self) -> dict[str, str]:
        """Variables that choose this back end and its passphrase; a passphrase that the user has set is left alone."""
        chosen = {"PULUMI_BACKEND_URL": self.url} | ({_CREDENTIALS: str(self.login)} if self.login else {})
        if _users_passphrase():
            return chosen
        if self.ends_with_cluster:
            return chosen | {_PASSPHRASE: PUBLIC_PASSPHRASE}
        return chosen | {_PASSPHRASE_FILE: str(passphrase_file())}

    def unset_variables(self) -> list[str]:
        """Variables that an earlier `eval "$(python3 -m devkit env)"` left, and that would be wrong here."""
        public = not self.ends_with_cluster and os.environ.get(_PASSPHRASE) == PUBLIC_PASSPHRASE
        return [_PASSPHRASE] if public else []

    def prepare(self) -> None:
        """Makes our folders and, where it is needed and missing, a passphrase."""
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.ends_with_cluster or _users_passphrase() or passphrase_file().exists():
            return
        passphrase_file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(passphrase_file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))


def of(cluster: Cluster) -> BackEnd:
    """The back end for stacks on `cluster`: the user's own, else one of ours."""
    if url := _users_url():
        return BackEnd(url, login=_users_credentials())
    if isinstance(cluster, Embedded):
        return BackEnd(f"file://{state_backend()}", ends_with_cluster=True)
    return BackEnd(f"file://{stacks_root() / _folder_name(cluster) / 'backend'}")


def passphrase_file() -> Path:
    """The generated passphrase. Without it the states that it encrypts are lost."""
    return stacks_root() / "passphrase"


def left_on(cluster: Cluster, environment: Mapping[str, str]) -> dict[str, int]:
    """Number of resources, by stack, of the stacks on `cluster` whose states `down` does not remove.

    In a back end of the user's, which may have stacks of other clusters, only those that `up` deployed count.
    """
    backend = of(cluster)
    if backend.ends_with_cluster or (backend.folder and not backend.folder.exists()):
        return _left_by_earlier_versions(cluster, environment)
    listed = _stacks(environment, *(["--all"] if backend.folder else []))
    mine = set(deployed_stacks())
    left = {name: count for name, count in listed.items() if backend.folder or name.split("/")[-1] in mine}
    return _left_by_earlier_versions(cluster, environment) | left


def refuse_to_lose(cluster: Cluster, environment: Mapping[str, str]) -> None:
    """Raises DevkitError while stacks on `cluster` have resources that nobody could destroy after `down`."""
    left = left_on(cluster, environment)
    if not left:
        return
    names = ", ".join(f"{name} ({count} resources)" for name, count in left.items())
    destroy = "; ".join(f"pulumi destroy --stack {name}" for name in left)
    raise DevkitError(
        f"stacks are left on the {cluster.kind} cluster: {names}",
        f'remove them first: eval "$(python3 -m devkit env)"; {destroy}. If the cluster is gone already, '
        "`pulumi stack rm --force` forgets a stack",
    )


def take_over(stack: str, environment: Mapping[str, str]) -> bool:
    """Encrypts the stack's file anew if the public passphrase encrypts it, as that of `dev` is; whether it did.

    Raises DevkitError if neither that passphrase nor the one in `environment` fits.
    """
    file = REPOSITORY / "stacks" / f"Pulumi.{stack}.yaml"
    if "encryptionsalt:" not in file.read_text() or _fits(stack, environment, _passphrase(environment)):
        return False
    with tempfile.TemporaryDirectory() as folder:
        scratch = _scratch(environment, folder, PUBLIC_PASSPHRASE)
        if _pulumi(scratch, "stack", "init", stack, "--no-select").returncode != 0:
            raise DevkitError(
                f"stacks/{file.name} is encrypted with another passphrase", f"set {_PASSPHRASE} or {_PASSPHRASE_FILE}"
            )
        done = _pulumi(
            scratch, "stack", "change-secrets-provider", "passphrase", "--stack", stack, text=_passphrase(environment)
        )
    if done.returncode != 0:
        raise DevkitError(f"encrypting stacks/{file.name} anew failed: {done.stderr.strip()[-300:]}")
    return True


def _fits(stack: str, environment: Mapping[str, str], passphrase: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return _pulumi(_scratch(environment, folder, passphrase), "stack", "init", stack, "--no-select").returncode == 0


def _scratch(environment: Mapping[str, str], folder: str, passphrase: str) -> dict[str, str]:
    """An environment with an empty back end: what is done to a stack there changes only its file."""
    return {**environment, "PULUMI_BACKEND_URL": f"file://{folder}", _PASSPHRASE: passphrase}


def _passphrase(environment: Mapping[str, str]) -> str:
    if _PASSPHRASE in environment:
        return environment[_PASSPHRASE]
    return Path(environment[_PASSPHRASE_FILE]).read_text().strip()


def _left_by_earlier_versions(cluster: Cluster, environment: Mapping[str, str]) -> dict[str, int]:
    """They kept every state in the folder that `down` removes."""
    if isinstance(cluster, Embedded) or not (state_backend() / ".pulumi" / "stacks").exists():
        return {}
    return _stacks({**environment, "PULUMI_BACKEND_URL": f"file://{state_backend()}"}, "--all")


def _stacks(environment: Mapping[str, str], *options: str) -> dict[str, int]:
    done = _pulumi(environment, "stack", "ls", "--json", *options)
    if done.returncode != 0:
        url = environment["PULUMI_BACKEND_URL"]
        raise DevkitError(
            f"the stacks in {url} can't be listed: {done.stderr.strip()[-300:]}", "correct that, so that none is lost"
        )
    return {stack["name"]: stack["resourceCount"] for stack in json.loads(done.stdout) if stack.get("resourceCount")}


def _pulumi(
    environment: Mapping[str, str], *arguments: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    command = (
        ["pulumi", *arguments, "--non-interactive"] if arguments[:2] != ("stack", "ls") else ["pulumi", *arguments]
    )
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, env=dict(environment), input=text or "", capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise DevkitError("there is no pulumi to look after the stacks with", "`make up` installs it") from error


def _users_passphrase() -> bool:
    """Whether the caller's environment has a passphrase that isn't one of ours."""
    given, file = os.environ.get(_PASSPHRASE), os.environ.get(_PASSPHRASE_FILE)
    return given not in (None, PUBLIC_PASSPHRASE) or file not in (None, "", str(passphrase_file()))


def _users_url() -> str | None:
    """The back end that the user works with, as the engine would find it; None if there is none."""
    named = os.environ.get("PULUMI_BACKEND_URL")
    if named and not named.startswith((f"file://{state_root()}/", f"file://{stacks_root()}/")):
        return named
    project = re.search(r"^backend:\s*\n\s+url:\s*[\"']?([^\s\"'#]+)", _project_file(), re.MULTILINE)
    if project:
        return project.group(1)
    try:
        current = json.loads((_users_credentials() / "credentials.json").read_text()).get("current")
    except (OSError, ValueError):
        current = None
    return current or (os.environ.get("PULUMI_API", _PULUMI_CLOUD) if os.environ.get("PULUMI_ACCESS_TOKEN") else None)


def _users_credentials() -> Path:
    home = os.environ.get("PULUMI_HOME")
    theirs = Path(home) if home and Path(home) != pulumi_home() else Path.home() / ".pulumi"
    return Path(os.environ.get(_CREDENTIALS) or theirs)


def _project_file() -> str:
    return (REPOSITORY / "Pulumi.yaml").read_text()


def _folder_name(cluster: Cluster) -> str:
    """One folder a cluster: a stack of the same name on another cluster is another stack."""
    context = getattr(cluster, "name", None)
    if context is None:
        return cluster.kind
    return f"context-{re.sub(r'[^A-Za-z0-9._-]+', '-', context)}-{hashlib.sha256(context.encode()).hexdigest()[:8]}"
