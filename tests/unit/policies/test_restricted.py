"""The rule `restricted` says of a pod what Kubernetes' own admission does."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelops_policies import RESOURCE_RULES, UNKNOWN, Resource
from tests.conftest import REPOSITORY

[RESTRICTED] = [rule for rule in RESOURCE_RULES if rule.name == "restricted"]
ADMISSION = "k8s.io/pod-security-admission"
GOOD = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def problems(pod: dict[str, Any], kind: str = "core/v1:Pod") -> list[str]:
    resource = Resource(f"kubernetes:{kind}", "pod", pod)
    return list(RESTRICTED.check(resource, [resource]))


def pod(container: dict[str, Any] | None = None, context: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that keeps the standard but for what is given."""
    secure = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **(context or {})}
    one = {"name": "web", "securityContext": GOOD, **(container or {})}
    return {"spec": {"securityContext": secure, "containers": [one], **spec}}


@pytest.fixture(scope="module")
def examples() -> Path:
    """Pods of Kubernetes' own tests, of the version that the local cluster runs."""
    text = (REPOSITORY / "devkit" / "toolchain" / "kubernetes" / "go.mod").read_text()
    [version] = re.findall(rf"=> {ADMISSION} (v\S+)", text)
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{ADMISSION}@{version}"], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout)["Dir"]) / "test" / "testdata"


def latest(examples: Path, level: str, verdict: str) -> Iterator[tuple[str, dict[str, Any]]]:
    versions = (examples / level).glob("v*")
    newest = max(versions, key=lambda path: [int(part) for part in path.name[1:].split(".")])
    for path in sorted((newest / verdict).glob("*.yaml")):
        yield path.name, yaml.safe_load(path.read_text())


@pytest.mark.skipif(not shutil.which("go"), reason="Go downloads the examples")
def test_kubernetes_own_examples_are_judged_as_kubernetes_does(examples: Path) -> None:
    passing = dict(latest(examples, "restricted", "pass"))
    failing = dict(latest(examples, "restricted", "fail")) | dict(latest(examples, "baseline", "fail"))
    assert len(passing) > 10 and len(failing) > 60
    assert {name: problems(example) for name, example in passing.items() if problems(example)} == {}
    assert [name for name, example in failing.items() if not problems(example)] == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (pod({"securityContext": {**GOOD, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}), "SYS_ADMIN"),
        (pod({"securityContext": {**GOOD, "runAsUser": 0}}), "web: securityContext.runAsUser is 0"),
        (pod(context={"runAsUser": 0}), "the pod: securityContext.runAsUser is 0"),
        (pod({"securityContext": {**GOOD, "procMount": "Unmasked"}}), "procMount is 'Unmasked'"),
        (pod({"ports": [{"containerPort": 80, "hostPort": 80}]}), "hostPort 80 is a port of the node"),
        (pod(volumes=[{"name": "share", "nfs": {"server": "a", "path": "/"}}]), "volume share is a nfs"),
        (pod(context={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "sysctl kernel.msgmax"),
        (pod(context={"seccompProfile": {"type": "Unconfined"}}), "seccompProfile.type is 'Unconfined'"),
        (pod(context={"windowsOptions": {"hostProcess": True}}), "hostProcess is true"),
        (pod(context={"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions.type is 'spc_t'"),
        (pod(context={"appArmorProfile": {"type": "Unconfined"}}), "appArmorProfile.type is 'Unconfined'"),
        (pod({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}), "livenessProbe.httpGet.host is set"),
        (pod(initContainers=[{"name": "first"}]), "first: capabilities not dropped"),
        (pod(ephemeralContainers=[{"name": "debug"}]), "debug: capabilities not dropped"),
    ],
)
def test_what_the_standard_forbids_is_told_with_its_fix(found: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in problems(found))


def test_linux_settings_are_not_asked_of_windows_and_users_may_be_root_in_a_namespace_of_their_own() -> None:
    windows = {"spec": {"os": {"name": "windows"}, "containers": [{"name": "web"}]}}
    assert problems(windows) == ["web: securityContext.runAsNonRoot is None; set it to True"]
    assert problems(pod({"securityContext": {**GOOD, "runAsUser": 0}}, hostUsers=False)) == []


def test_what_is_not_known_yet_is_not_judged() -> None:
    for path in ("securityContext", "containers", "volumes"):
        assert problems(pod(**{path: UNKNOWN})) == []
    assert problems(pod({"securityContext": {**GOOD, "capabilities": {"drop": UNKNOWN, "add": UNKNOWN}}})) == []
