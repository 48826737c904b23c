"""Programs of many ModelServices, and the same objects without components: plain resources, and manifests."""

import copy
import importlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
COMPONENTS = "from bench.services import components; components({count}, {namespace!r}, at_rest={at_rest})\n"
PLAIN = "from bench.services import plain; plain({objects!r})\n"
"""Programs. What they import is this file and what their kind needs, so that imports are measured too."""
ARGUMENTS = {
    "image": "registry.example.com/team/model@sha256:" + "a" * 64,
    "model_uri": "models:/linear@run-0123456789ab",  # fixed, so that nobody is asked for it
    "tracking_uri": "http://registry.ml.svc:5000",
}
Object = Mapping[str, Any]
"""`type` and `name` of a resource, and its `inputs`."""


def components(count: int, namespace: str, *, at_rest: bool = False) -> None:
    """So many ModelServices; `at_rest`, nothing of them runs and nothing is waited for."""
    from modelops import ModelService

    # Of the components, not of the stack: that would outlast the run in a process that runs others.
    opts = pulumi.ResourceOptions(provider=k8s.Provider("cluster"), transformations=[_at_rest] if at_rest else None)
    for number in range(count):
        args: Any = {**ARGUMENTS, "namespace": namespace}
        ModelService(f"service-{number}", args, opts)


def _at_rest(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    if not args.type_.startswith("kubernetes:"):
        return None
    return pulumi.ResourceTransformationResult(at_rest(args.type_, args.props), args.opts)


def at_rest(kind: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of an object that starts no pod and isn't waited for."""

    def changed(value: Any, **fields: Any) -> Any:
        copied = copy.copy(value)
        for name, field in fields.items():
            setattr(copied, name, field)
        return copied

    def skipping(metadata: Any) -> Any:
        return changed(metadata, annotations={**(metadata.annotations or {}), "pulumi.com/skipAwait": "true"})

    made = {**inputs, "metadata": pulumi.Output.from_input(inputs["metadata"]).apply(skipping)}
    still: dict[str, Any] = {"Deployment": {"replicas": 0}, "Job": {"suspend": True}}.get(kind.rpartition(":")[2], {})
    if still:
        made["spec"] = pulumi.Output.from_input(inputs["spec"]).apply(lambda spec: changed(spec, **still))
    return made


def plain(file: str) -> None:
    """The resources of a file of objects, by their classes in pulumi_kubernetes."""
    opts = pulumi.ResourceOptions(provider=k8s.Provider("cluster"))
    for each in json.loads(Path(file).read_text()):
        inputs = {snake_case(name): value for name, value in each["inputs"].items()}
        class_of(each["type"])(each["name"], opts=opts, **inputs)


def class_of(kind: str) -> Any:
    """`kubernetes:apps/v1:Deployment` is pulumi_kubernetes.apps.v1.Deployment."""
    _, group, name = kind.split(":")
    folder, _, number = group.partition("/")
    return getattr(importlib.import_module(f"pulumi_kubernetes.{folder.partition('.')[0]}.{number}"), name)


def snake_case(name: str) -> str:
    """`roleRef` is role_ref."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def rendered(count: int, namespace: str, *, at_rest: bool = False) -> list[Object]:
    """The objects that `components` makes."""
    from tests.unit.components.harness import run
    from tests.unit.stacks.rendered import plain

    made = run(lambda: components(count, namespace, at_rest=at_rest)).resources
    return [{"type": each.type, "name": each.name, "inputs": plain(each.inputs)} for each in made if each.is_kubernetes]


def manifests(objects: Sequence[Object]) -> list[dict[str, Any]]:
    """The objects as kubectl takes them: what Pulumi would name has the resource's name."""
    return [
        {**each["inputs"], "metadata": {"name": each["name"], **each["inputs"].get("metadata", {})}} for each in objects
    ]


class Project:
    """A folder with a program and its own empty stack."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder = folder
        (folder / "backend").mkdir(parents=True)
        runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": folder.name, "runtime": runtime}))
        (folder / "__main__.py").write_text(program)
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "components")]),
        }
        self.pulumi("stack", "init", "bench")

    def pulumi(self, *arguments: str) -> str:
        """What the command prints."""
        command = ["pulumi", *arguments, "--non-interactive"]
        done = subprocess.run(command, cwd=self._folder, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def creations(self) -> int:
        """How many resources a preview would create."""
        return int(json.loads(self.pulumi("preview", "--json"))["changeSummary"]["create"])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("pulumi", "pulumi-kubernetes")},
    }
