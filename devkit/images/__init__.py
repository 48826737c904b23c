"""Which upstream images the cluster can pull, and substitutes for the others."""

import contextlib
import hashlib
import json
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import Path

from devkit.embedded.layout import MIRROR
from devkit.errors import DevkitError
from devkit.steps import Report

_FOLDER = Path(__file__).resolve().parent
SUBSTITUTES = (
    "airflow",
    "alertmanager",
    "contour",
    "envoy",
    "jobset",
    "keda",
    "keda-admission-webhooks",
    "keda-metrics-apiserver",
    "kube-state-metrics",
    "mlflow",
    "mlflow-full",
    "node-exporter",
    "postgres",
    "prometheus",
    "prometheus-adapter",
    "python",
    "versitygw",
)
"""Targets of the Dockerfile beside this file: repository names (last path component), `-full` for tags that end so."""
_TOOLCHAIN_GROUPS = {
    "contour": "gateway",
    "jobset": "jobset",
    "keda": "keda",
    "keda-admission-webhooks": "keda",
    "keda-metrics-apiserver": "keda",
    "kube-state-metrics": "kube-state-metrics",
    "prometheus": "prometheus",
    "prometheus-adapter": "adapter",
    "versitygw": "s3",
}
"""Target → the toolchain group with the programs that it copies."""
_TIMEOUT_SECONDS = 10.0
_LOOK_UP_SECONDS = 5.0
_MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass
class Availability:
    """Availability of the images that a stack needs; those in neither mapping are pulled from upstream."""

    images: dict[str, str] = field(default_factory=dict)
    """Upstream image → substitute, by digest."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Upstream image → why it can't be pulled."""


@dataclass(frozen=True)
class Builder:
    """Where substitutes are built and pushed to."""

    buildctl: Path
    address: str
    registry: str
    base_image: str
    programs: Callable[[str], Path]
    """Returns the folder of a toolchain group's programs, for the targets that copy one."""


def check(required: Iterable[str]) -> dict[str, str]:
    """The `required` images that can't be pulled from here → why. One request each, in parallel."""
    images = sorted(set(required))
    silent = _silent_hosts({split(image)[0] for image in images})
    reasons = {image: f"{split(image)[0]} does not answer" for image in images if split(image)[0] in silent}
    asked = [image for image in images if image not in reasons]
    with ThreadPoolExecutor(max_workers=8) as pool:
        reasons |= {
            image: reason for image, reason in zip(asked, pool.map(_pull_problem, asked), strict=True) if reason
        }
    return reasons


def _silent_hosts(hosts: Iterable[str]) -> set[str]:
    """Those of the hosts that can't be found within a few seconds. A look-up of a name has no time-out of its own, and
    where names don't resolve one takes minutes; so each has a thread that nobody waits for longer. Behind a proxy,
    which looks names up itself, none counts as silent."""
    if "https" in urllib.request.getproxies():
        return set()
    found: set[str] = set()

    def look_up(host: str) -> None:
        name, _, port = host.partition(":")
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, int(port or 443))
            found.add(host)

    threads = {host: threading.Thread(target=look_up, args=(host,), daemon=True) for host in hosts}
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + _LOOK_UP_SECONDS
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    return set(threads) - found


def resolve(required: Iterable[str], builder: Builder | None, report: Report) -> Availability:
    """Checks each image and builds a substitute where one is needed and known."""
    availability = Availability()
    for image, reason in check(required).items():
        _, repository, tag = split(image)
        name = repository.rsplit("/", 1)[-1] + ("-full" if tag.endswith("-full") else "")
        if builder is not None and name in SUBSTITUTES:
            report(f"building a substitute for {image}")
            availability.images[image] = _substitute(name, repository, tag, builder)
        else:
            availability.unavailable[image] = reason
    return availability


def split(image: str) -> tuple[str, str, str]:
    """`registry/repository:tag` or `…@digest` as (registry host, repository, tag or digest), with Docker's defaults."""
    name, _, digest = image.partition("@")
    tag = "latest"
    if re.search(r":[^/]+$", name):
        name, tag = name.rsplit(":", 1)
    first, _, rest = name.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        host, repository = first, rest
    else:
        host, repository = "docker.io", name
    if host == "docker.io":
        host = "registry-1.docker.io"
        repository = repository if "/" in repository else f"library/{repository}"
    return host, repository, digest or tag


def _pull_problem(image: str) -> str | None:
    """None when the image's manifest can be fetched, else the reason in a few words."""
    host, repository, reference = split(image)
    scheme = "http" if host.startswith(("localhost:", "127.0.0.1:")) else "https"
    request = urllib.request.Request(
        f"{scheme}://{host}/v2/{repository}/manifests/{reference}", method="HEAD", headers={"Accept": _MANIFEST_TYPES}
    )
    try:
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            request.add_unredirected_header("Authorization", f"Bearer {_anonymous_token(error.headers)}")
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        return f"{host} responds with {error.code}"
    except (OSError, HTTPException) as error:
        return f"{host} is out of reach: {getattr(error, 'reason', error)}"
    except ValueError as error:
        return f"{host} can't be asked: {error}"
    return None


def _anonymous_token(headers: Message) -> str:
    """A pull token for a public image, as the registry's challenge asks (Docker registry token authentication).

    Raises ValueError if it gives none."""
    challenges = ", ".join(headers.get_all("WWW-Authenticate") or [])
    found = re.search(r"(?:^|,)\s*bearer\s+(.*)", challenges, re.IGNORECASE)
    pairs = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', found[1] if found else "")
    fields = {name.lower(): quoted or bare for name, quoted, bare in reversed(pairs)}
    realm = fields.get("realm", "")
    if not realm.startswith(("https://", "http://")):
        raise ValueError("it wants a login")
    query = urllib.parse.urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    with urllib.request.urlopen(f"{realm}{'&' if '?' in realm else '?'}{query}", timeout=_TIMEOUT_SECONDS) as answer:
        body = json.load(answer)
    token = (body.get("token") or body.get("access_token")) if isinstance(body, dict) else None
    if not token:
        raise ValueError("it gives no token")
    return str(token)


def _substitute(target: str, upstream: str, tag: str, builder: Builder) -> str:
    """Builds and pushes the target unless the registry has it; returns its reference by digest.

    It gets the upstream image's tag too, in the repository that the cluster tries before upstream's.
    """
    programs = builder.programs(_TOOLCHAIN_GROUPS[target]) if target in _TOOLCHAIN_GROUPS else _FOLDER
    version = tag.removesuffix("-full")
    inputs = "\0".join([target, version, builder.base_image, programs.name])
    requirements = _FOLDER / f"requirements-{target}.txt"
    text = (_FOLDER / "Dockerfile").read_bytes() + inputs.encode()
    text += requirements.read_bytes() if requirements.exists() else b""
    arguments = {"BASE_IMAGE": builder.base_image, f"{target.split('-')[0].upper()}_VERSION": version.removeprefix("v")}
    repository = f"{builder.registry}/{MIRROR}/{upstream}"
    found = build(_FOLDER, target, text, arguments, {"programs": programs}, builder, repository)
    _add_tag(found, tag)
    return found


def build(
    folder: Path,
    target: str,
    content: bytes,
    arguments: Mapping[str, str],
    contexts: Mapping[str, Path],
    builder: Builder,
    repository: str | None = None,
) -> str:
    """Builds and pushes a target of `folder`'s Dockerfile, unless the registry has it; its reference by digest.

    `content` identifies the image's inputs; `contexts` are further folders to copy from. The default repository is
    named after the target.
    """
    repository = repository or f"{builder.registry}/devkit/{target}"
    tag = hashlib.sha256(content).hexdigest()[:16]
    if digest := _digest(f"{repository}:{tag}"):
        return f"{repository}@{digest}"
    options = {"target": target} | {f"context:{name}": f"local:{name}" for name in contexts}
    options |= {f"build-arg:{name}": value for name, value in arguments.items()}
    output = f"type=image,name={repository}:{tag},push=true,compression=zstd,force-compression=true,oci-mediatypes=true"
    with tempfile.NamedTemporaryFile(suffix=".json") as metadata:
        command = [str(builder.buildctl), "--addr", builder.address, "build", "--frontend", "dockerfile.v0"]
        command += ["--progress", "plain"]
        for name, path in {"context": folder, "dockerfile": folder, **contexts}.items():
            command += ["--local", f"{name}={path}"]
        for key, value in options.items():
            command += ["--opt", f"{key}={value}"]
        done = subprocess.run(
            [*command, "--output", output, "--metadata-file", metadata.name], capture_output=True, text=True
        )
        if done.returncode != 0:
            tail = "\n  ".join(done.stderr.strip().splitlines()[-12:])
            raise DevkitError(f"building the image {target} failed:\n  {tail}", "run this again")
        digest = json.loads(Path(metadata.name).read_text())["containerimage.digest"]
    return f"{repository}@{digest}"


def _add_tag(image: str, tag: str) -> None:
    """Gives an image in the local registry, named by digest, another tag in its repository."""
    host, repository, digest = split(image)
    manifests = f"http://{host}/v2/{repository}/manifests"
    request = urllib.request.Request(f"{manifests}/{digest}", headers={"Accept": _MANIFEST_TYPES})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        kind, manifest = answer.headers["Content-Type"], answer.read()
    request = urllib.request.Request(f"{manifests}/{tag}", manifest, {"Content-Type": kind}, method="PUT")
    urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()


def _digest(image: str) -> str | None:
    """Digest of an image in the local registry, or None when it is missing."""
    host, repository, tag = split(image)
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}", method="HEAD", headers={"Accept": _MANIFEST_TYPES}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return str(answer.headers["Docker-Content-Digest"])
    except (urllib.error.URLError, OSError):
        return None
