"""Other people's programs that the clusters are made with: docker, kind, minikube, kubectl."""

import json
import os
import socket
import subprocess
from collections.abc import Iterable
from typing import Any

from devkit.errors import DevkitError
from devkit.paths import kubeconfig

NAME = "modelops"
"""Of everything that is made here: profile, cluster, builder, containers."""
REGISTRY = f"{NAME}-registry"
REGISTRY_PORT = 5001  # macOS itself listens on 5000
NODE_PORTS = range(30000, 30032)
"""The API server assigns Services their node ports from these. Each is mapped to this machine's loopback address,
because the address of a container can't be reached where Docker runs in a virtual machine (macOS, Windows)."""
_REGISTRY_IMAGE = "registry:2"
_CERTIFICATES = f"/etc/containerd/certs.d/localhost:{REGISTRY_PORT}"


def run(command: list[str], check: bool = True, own_kubeconfig: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a program, with the devkit's own kubeconfig. Raises DevkitError when it is missing or fails."""
    environment = dict(os.environ)
    if own_kubeconfig:
        kubeconfig().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment["KUBECONFIG"] = str(kubeconfig())
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DevkitError(f"{command[0]} is not installed", "install it or choose another cluster") from error
    if check and done.returncode != 0:
        raise DevkitError(f"`{' '.join(command)}` failed: {_reason(done.stderr or done.stdout)}")
    return done


def _reason(output: str) -> str:
    """The part of a program's output that says why it failed: what it calls an error, else its end."""
    lines = output.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if "error" in line.lower()), None)
    return output.strip()[-500:] if first is None else " ".join(lines[first : first + 6])[:500]


def ensure_registry() -> None:
    """A registry container. Inside and outside it listens on the same port, so that one name serves everybody:
    this machine, the nodes and the builder."""
    state = run(["docker", "inspect", "--format", "{{.State.Running}} {{.Config.Env}}", REGISTRY], check=False).stdout
    if state.startswith("true") and f":{REGISTRY_PORT}" in state:
        return
    run(["docker", "rm", "--force", REGISTRY], check=False)
    run(["docker", "buildx", "rm", NAME], check=False)  # it is part of the old container's network
    address = f"REGISTRY_HTTP_ADDR=0.0.0.0:{REGISTRY_PORT}"
    publish = f"127.0.0.1:{REGISTRY_PORT}:{REGISTRY_PORT}"
    start = ["docker", "run", "--detach", "--restart=always", "--publish", publish, "--env", address]
    run([*start, "--name", REGISTRY, _REGISTRY_IMAGE])


def connect_registry(nodes: Iterable[str], network: str) -> None:
    """Makes the registry known to the nodes under the name that images are pushed to."""
    run(["docker", "network", "connect", network, REGISTRY], check=False)
    hosts = f'[host.\\"http://{REGISTRY}:{REGISTRY_PORT}\\"]'
    script = f'mkdir -p {_CERTIFICATES} && echo "{hosts}" > {_CERTIFICATES}/hosts.toml'
    for node in nodes:
        run(["docker", "exec", node, "sh", "-c", script])


def ensure_builder() -> None:
    """A builder in the registry's network: `localhost` is the registry there, wherever Docker itself runs."""
    if run(["docker", "buildx", "inspect", NAME], check=False).returncode != 0:
        create = ["docker", "buildx", "create", "--name", NAME, "--driver", "docker-container"]
        run([*create, "--driver-opt", f"network=container:{REGISTRY}"])


def remove_registry_and_builder() -> None:
    """Removes both; neither has to be there."""
    run(["docker", "buildx", "rm", NAME], check=False)
    run(["docker", "rm", "--force", REGISTRY], check=False)


def node_host(container: str) -> str:
    """The host at which this machine reaches the node ports of a node that is a container.

    Raises DevkitError when there is none, as for a node that was made without mapped ports inside a virtual machine.
    """
    network: dict[str, Any] = json.loads(
        run(["docker", "inspect", "--format", "{{json .NetworkSettings}}", container]).stdout
    )
    mapped = {int(port.split("/")[0]) for port, host in (network.get("Ports") or {}).items() if host}
    if set(NODE_PORTS) <= mapped:
        return "127.0.0.1"
    addresses = [each["IPAddress"] for each in (network.get("Networks") or {}).values() if each.get("IPAddress")]
    if reachable := next(filter(answers, addresses), None):
        return str(reachable)
    raise DevkitError(
        f"the node {container} has no mapped node ports, and its address can't be reached from here",
        "`make down`, then `make up` makes it anew with ports",
    )


def answers(host: str, port: int = 10250) -> bool:
    """Whether a node's kubelet can be reached from this machine."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
