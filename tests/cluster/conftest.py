"""The real cluster for the tests below: taken as it is when one is up, else brought up and taken down again.

Workers of pytest-xdist share it: the first one that needs it brings it up, the last one that did takes it down.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import s3
from tests.cluster.support import REPOSITORY, HostTraces, host_traces, kubectl, platform_facts, users_files

_RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def _devkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "devkit", *arguments], cwd=REPOSITORY, capture_output=True, text=True)


@contextmanager
def _shared(folders: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the workers of this run know together; one at a time reads and writes it."""
    folder = folders.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "platform.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        yield known
        file.truncate(0)
        json.dump(known, file)


def _is_up() -> bool:
    status = json.loads(_devkit("status", "--json").stdout or "{}")
    return any(not isinstance(part, dict) or part.get("ok") for part in status.get("parts", {}).values())


@pytest.fixture(scope="session")
def platform_was_up(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether the session found a platform that somebody else started."""
    with _shared(tmp_path_factory) as known:
        if "was_up" not in known:
            known["was_up"] = _is_up()
        return bool(known["was_up"])


@pytest.fixture(scope="session")
def traces_before(platform_was_up: bool) -> HostTraces:
    """What the machine looked like before the session brought anything up."""
    return host_traces()


@pytest.fixture(scope="session")
def home_before() -> dict[Path, float]:
    """The user's own Pulumi, kubectl and Docker files, and when each was last written."""
    return users_files()


@pytest.fixture(scope="session")
def platform_env(
    platform_was_up: bool,
    traces_before: HostTraces,
    home_before: dict[Path, float],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The environment of `devkit env`, applied to this process as well."""
    before = dict(os.environ)
    with _shared(tmp_path_factory) as known:
        if not known.get("users"):
            subprocess.run([sys.executable, "-m", "devkit", "up"], cwd=REPOSITORY, check=True, stdout=sys.__stdout__)
        known["users"] = known.get("users", 0) + 1
    exported = _devkit("env")
    assert exported.returncode == 0, exported.stderr
    shell = subprocess.run(["bash", "-c", f"{exported.stdout}\nenv -0"], capture_output=True, text=True, check=True)
    variables = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    # By name: a shell that has taken `devkit env` already shows no difference.
    ours = {name: variables[name] for name in re.findall(r"^export (\w+)=", exported.stdout, re.MULTILINE)}
    os.environ.update(ours)
    yield ours
    os.environ.clear()
    os.environ.update(before)
    with _shared(tmp_path_factory) as known:
        known["users"] -= 1
        if not known["users"] and not platform_was_up:
            _devkit("down")


@pytest.fixture
def namespace(platform_env: dict[str, str]) -> Iterator[str]:
    """A fresh namespace under the restricted Pod Security Standard, deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, _RESTRICTED)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def test_image(platform_env: dict[str, str]) -> str:
    """An image with python3 and sh that the cluster can run."""
    facts = platform_facts()
    return str(facts["base_image"] or "docker.io/library/python:3.12-slim")


@pytest.fixture(scope="module")  # not the session: the platform is down by its end (test_lifecycle.py)
def object_store(test_image: str) -> Iterator[s3.ObjectStore]:
    """An S3 server in the cluster, with an empty bucket."""
    with s3.running(test_image) as store:
        yield store


@pytest.fixture(scope="session")
def project_copy(platform_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that a test may edit; it shares the virtual environment."""
    target = tmp_path_factory.mktemp("project")
    for name in ("Pulumi.yaml", "__main__.py", "components", "model", "stacks"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, target / name)
    (target / ".venv").symlink_to(REPOSITORY / ".venv")
    return target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The lifecycle comes last: it takes the platform down."""
    items.sort(key=lambda item: item.get_closest_marker("lifecycle") is not None)
