"""What the cluster tests share: kubectl, HTTP, a stack in a copy of the project."""

import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation

from devkit.paths import state_root

REPOSITORY = Path(__file__).resolve().parents[2]


def kubectl(*arguments: str, check: bool = True) -> str:
    """Runs kubectl with the session's KUBECONFIG; returns what it printed."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def apply(*manifests: dict[str, Any]) -> None:
    """Applies manifests from standard input, so that what is secret is on no command line."""
    _of_manifests(manifests, "apply")


def create(*manifests: dict[str, Any]) -> None:
    """Creates what manifests describe, which may be too large for the annotation that `apply` makes of it."""
    _of_manifests(manifests, "create")


def remove(*manifests: dict[str, Any]) -> None:
    """Deletes what manifests describe, as far as it is there, and waits until it is gone."""
    _of_manifests(manifests, "delete", "--ignore-not-found", "--wait=true")


def _of_manifests(manifests: Sequence[dict[str, Any]], *command: str) -> None:
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    done = subprocess.run(["kubectl", *command, "--filename", "-"], input=document, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"kubectl {command[0]}: {done.stderr}")


def objects(kind: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
    """The objects of a kind in a namespace."""
    return list(json.loads(kubectl("get", kind, "--namespace", namespace, "--output", "json", *arguments))["items"])


def fill_claim(namespace: str, name: str, image: str, path: str, folder: Path) -> None:
    """Makes a claim that has a copy of a folder at `path`, written by a pod that is gone again. `image` has Python."""
    meta = {"name": name, "namespace": namespace}
    request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    unpack = f"import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('/filled/{path}')"
    writer = {
        "name": "write",
        "image": image,
        "command": ["python3", "-c", unpack],
        "stdin": True,
        "stdinOnce": True,
        "volumeMounts": [{"name": "filled", "mountPath": "/filled"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    volume = {"name": "filled", "persistentVolumeClaim": {"claimName": name}}
    spec = {"restartPolicy": "Never", "securityContext": user, "containers": [writer], "volumes": [volume]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": request}, pod)
    where = ("--namespace", namespace)
    kubectl("wait", *where, f"pod/{name}", "--for=condition=Ready", "--timeout=90s")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        files.add(folder, ".")
    subprocess.run(["kubectl", "attach", *where, "--stdin", name], input=archive.getvalue(), check=True)
    kubectl("wait", *where, f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    kubectl("delete", *where, f"pod/{name}")


def platform_facts() -> dict[str, Any]:
    """What the session's platform offers."""
    return dict(json.loads(Path(os.environ["MODELOPS_PLATFORM"]).read_text()))


def exposure() -> str:
    """How a Service is reached from outside on the session's platform."""
    return "LoadBalancer" if platform_facts().get("load_balancer") else "NodePort"


def post(url: str, body: object, timeout: float = 10) -> tuple[int, Any]:
    """POSTs JSON; returns status and decoded answer, for errors as well."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def get_json(url: str, timeout: float = 10) -> Any:
    """GETs JSON."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.load(answer)


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[int]:
    """The local port at which that port of a pod or Service (`service/chat`) is reached."""
    command = ["kubectl", "port-forward", "--namespace", namespace, target, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout
            said = forwarding.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", said)
            assert found, said
            yield int(found[1])
        finally:
            forwarding.terminate()


@contextmanager
def meanwhile(do: Callable[[], object], every_seconds: float) -> Iterator[None]:
    """Does something beside the block again and again, until it returns something true or the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_seconds) and not do():
            pass

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def eventually(check: Any, timeout_seconds: float = 90, every_seconds: float = 1) -> Any:
    """Calls `check` until it returns something true; raises AssertionError with its last answer after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            found = check()
        except (OSError, HTTPException, KeyError, IndexError) as error:
            found = None
            problem: object = error
        else:
            problem = found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds} s; last: {problem!r}")
        time.sleep(every_seconds)


class ProjectStack:
    """A stack of a copy of the project, driven through the Automation API."""

    def __init__(self, project: Path, name: str) -> None:
        self.project = project
        self.name = name
        self.config_file = project / "stacks" / f"Pulumi.{name}.yaml"
        self.stack = automation.create_or_select_stack(name, work_dir=str(project))

    def edit(self, *path: str, value: object) -> None:
        """Sets one value of the stack's config, by its key and the path inside it."""
        document = yaml.safe_load(self.config_file.read_text())
        place = document["config"]
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
        self.config_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def up(self) -> automation.UpResult:
        """`pulumi up`; its output is shown when the test fails."""
        return self.stack.up(on_output=print, color="never")

    def preview(self) -> list[dict[str, Any]]:
        """The steps that `pulumi preview --json` announces, without the unchanged ones."""
        done = self.pulumi("preview", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return [step for step in json.loads(done.stdout)["steps"] if step["op"] not in ("same", "read")]

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command of the CLI, on this stack."""
        return subprocess.run(
            ["pulumi", *arguments, "--stack", self.name, "--non-interactive", "--color=never"],
            cwd=self.project,
            capture_output=True,
            text=True,
        )

    def resources(self) -> list[tuple[str, str, str]]:
        """What the state holds: name, id and time of the last change of each resource."""
        exported = json.loads(self.pulumi("stack", "export").stdout)["deployment"]["resources"]
        return [(found["urn"], found.get("id", ""), found.get("modified", "")) for found in exported]

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return {name: output.value for name, output in self.stack.outputs().items()}


@dataclass(frozen=True)
class HostTraces:
    """What a cluster could leave on a machine."""

    links: tuple[str, ...]
    rules: tuple[str, ...]
    mounts: tuple[str, ...]
    processes: tuple[str, ...]
    cgroups: tuple[str, ...]


_MOUNTS = re.compile(r"modelops|containerd|buildkit|kubelet|kube-")
# A part names the state folder or the sockets' folder on its command line; what runs in a pod is in our control group.
_OURS = re.compile(rf"{re.escape(str(state_root()))}|/run/modelops-|:/modelops")


def _processes() -> list[tuple[str, str]]:
    """Process id, and command line with control groups, of every process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append((folder.name, command + (folder / "cgroup").read_text()))
        except OSError:
            continue
    return found


def host_traces() -> HostTraces:
    """Network interfaces, packet-filter rules, mounts, processes and cgroups, as far as they can be the platform's."""

    def lines(*command: str) -> list[str]:
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        except FileNotFoundError:
            return []

    links = [re.sub(r"@.*|:$", "", line.split()[1]) for line in lines("ip", "-o", "link")]
    rules = [
        line
        for table in ("iptables-save", "ip6tables-save")
        for line in lines(table)
        if not re.match(r"#|:\w+ (ACCEPT|DROP) |\*|COMMIT", line)
    ]
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if _MOUNTS.search(line)]
    processes = [f"{pid}: {words}" for pid, words in _processes() if _OURS.search(words)]
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/modelops*")]
    cgroups += [str(path) for path in Path("/sys/fs/cgroup").glob("*/kubepods*")]
    return HostTraces(*(tuple(sorted(found)) for found in (links, rules, mounts, processes, cgroups)))


def users_files() -> dict[Path, float]:
    """Files below the user's own Pulumi, kubectl and Docker folders, and when each was last written."""
    folders = (Path.home() / ".pulumi", Path.home() / ".kube", Path.home() / ".docker")
    return {path: path.stat().st_mtime for folder in folders for path in folder.rglob("*") if path.is_file()}
