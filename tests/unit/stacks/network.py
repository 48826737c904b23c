"""Which connections a stack's network policies let through, by the program `nca` (network-config-analyzer), which holds
them against Kubernetes' rules. It gets the stack's policies, namespaces and pods as the API server would."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.environments import environment_of

OUTSIDE = "outside"
"""Any address that is no pod's."""
_EVERYWHERE = "0.0.0.0-255.255.255.255"
_LINE = re.compile(r"(\S+) => (\S+) : (All connections|\{protocols:(\w+),dst_ports:(\S+)\})")


@dataclass(frozen=True)
class Network:
    """The connections that are let through."""

    pods: tuple[str, ...]
    """Every pod, as `kind/name` of what makes it."""
    allowed: frozenset[tuple[str, str, str, str]]
    """Source, target, protocol and ports of each connection."""

    def allows(self, source: str, target: str, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection reaches the target. Both ends are `kind/name`, or OUTSIDE."""
        return any(
            ends == (source, target) and kind in (protocol, "") and _in(port, ports)
            for *ends_, kind, ports in self.allowed
            for ends in [tuple(ends_)]
        )


def _in(port: int, ranges: str) -> bool:
    bounds = [[int(bound) for bound in each.split("-")] for each in ranges.split(",")]
    return any(each[0] <= port <= each[-1] for each in bounds)


def network_of(manifests: Sequence[Mapping[str, Any]], folder: Path) -> Network:
    """What the policies among the manifests let through, between the pods that the others make."""
    pods = dict(_pods(manifests))
    names = {pod["metadata"]["namespace"] for pod in pods.values()}
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {_NAME_LABEL: name}}}
        for name in sorted(names)
    ]
    policies = [{**each, "apiVersion": "networking.k8s.io/v1"} for each in manifests if each["kind"] == _POLICY]
    files = {"namespaces": namespaces, "pods": list(pods.values()), "policies": policies}
    for name, documents in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(documents))
    command = [str(environment_of("nca").with_name("nca")), "--connectivity=policies.yaml"]
    options = ["--ns_list=namespaces.yaml", "--pod_list=pods.yaml", "--output_format=txt_no_fw_rules"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ends = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}[Pod]": key for key, pod in pods.items()}
    ends[_EVERYWHERE] = OUTSIDE
    found = [_LINE.fullmatch(line) for line in done.stdout.splitlines() if " => " in line]
    assert all(found), done.stdout
    allowed = {
        (ends[line[1]], ends[line[2]], line[4] or "", line[5] or "1-65535") for line in found if line is not None
    }
    return Network(tuple(pods), frozenset(allowed))


_POLICY = "NetworkPolicy"
_NAME_LABEL = "kubernetes.io/metadata.name"
"""Which the API server gives every namespace."""


def _pods(manifests: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests:
        spec = manifest.get("spec") or {}
        template = (spec.get("jobTemplate") or {}).get("spec", spec).get("template")
        if not isinstance(template, Mapping) or "spec" not in template:
            continue
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        kind = manifest["kind"].lower()
        containers = [
            {"name": each["name"], "image": "none", "ports": each.get("ports", [])}
            for each in template["spec"]["containers"]
        ]
        metadata = {"name": f"{name}-{kind}", "namespace": namespace, "labels": template["metadata"]["labels"]}
        status = {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.0.0.2"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
        yield f"{kind}/{name}", {**pod, "status": status}
