"""A team with a stack of its own: a repository on a Git server, a forge, three namespaces, and no more."""

import os
import re
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.ci.forge_git import served
from tests.cluster.ci.github import GitHub
from tests.cluster.ci.teams import PASSPHRASE, STACKS, Team, content_of, python_of
from tests.cluster.support import kubectl
from tests.forge import TOKEN, Forge, serving

collect_ignore = ["team"]  # has tests of its own, which the team's jobs run


@pytest.fixture(scope="package")
def team(platform_env: dict[str, str], test_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("ci")
    run = uuid.uuid4().hex[:6]
    namespaces = {stack: f"ci-{run}-{stack}" for stack in STACKS}
    (folder / "state").mkdir()
    python, forge = python_of(folder), Forge()
    environment = {
        **{name: value for name, value in platform_env.items() if not re.match("PULUMI_(CONFIG|BACKEND)", name)},
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "BUILDER": "",
    }
    secrets = {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}
    content = content_of(folder / "content", namespaces, test_image)
    with serving(forge) as api, served(folder, content) as copy:
        host = GitHub(copy.folder, copy.address, api, python, environment, {**secrets, "GITHUB_TOKEN": TOKEN})
        made = Team(copy, forge, host, environment, namespaces, folder, secrets)
        try:
            for namespace in namespaces.values():
                kubectl("create", "namespace", namespace)
                kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
            for stack in STACKS:
                made.pulumi("stack", "init", stack)
            copy.push("main", "the stack")
            yield made
        finally:
            for namespace in namespaces.values():
                kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found", check=False)
